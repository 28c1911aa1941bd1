# The same steps as CI, each a script in scripts/.

STEPS := test race lint cross platforms releases services examples fuzz consumer release api vuln install golangci

.PHONY: help check bench $(STEPS)

help: ## what can be made; CONTRIBUTING.md says more
	@echo "make check    every step, as CI runs them; installs what they need"
	@echo "make bench    every package beside its peers, into docs/BENCHMARKS.md"
	@echo "make STEP     one of: $(STEPS)"

check: ## every step, as CI runs them
	bash .ci/run

$(STEPS):
	bash scripts/$@.sh

bench: ## every package beside its peers, into docs/BENCHMARKS.md; about 15 minutes
	bash scripts/bench.sh
