# The same steps as CI, each a script in scripts/.

STEPS := test race lint cross releases services examples fuzz consumer api install

.PHONY: check $(STEPS)

check: ## every step, as CI runs them
	bash .ci/run

$(STEPS):
	bash scripts/$@.sh
