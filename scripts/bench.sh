#!/usr/bin/env bash
# Compares every package with its peers, in rounds, and writes docs/BENCHMARKS.md.
#
#   BENCH_COUNT  rounds; fewer than 4 are a smoke test, whose page goes to the screen (8)
#   BENCH_TIME   of one benchmark, as in go test -benchtime (0.1s; 2000x or more with sockets)
#   BENCH_DIR    where measurements are kept: what is there already is not done again
#   BENCH_NOTE   what a reader should know about this run, for the page
#   BENCH_STOP   begin nothing more after so many seconds; run again with BENCH_DIR
#
#   make bench                                   # about 15 minutes
#   BENCH_COUNT=1 BENCH_TIME=10x make bench      # does it work?
. "$(dirname "$0")/lib.sh"
scratch

count=${BENCH_COUNT:-8}
dir=${BENCH_DIR:-$tmp}
out=docs/BENCHMARKS.md
command='make bench'
[ "$count" -ge 4 ] || out=/dev/stdout
[ -z "${BENCH_COUNT:-}" ] || command="BENCH_COUNT=$count $command"
[ -z "${BENCH_TIME:-}" ] || command="BENCH_TIME=$BENCH_TIME $command"

# enough ends the script when its time is up.
enough() {
	[ $SECONDS -lt "${BENCH_STOP:-86400}" ] || fail "BENCH_STOP: not done yet, run it again with the same BENCH_DIR"
}

mkdir -p "$dir"
test=$dir/bench.test
[ -x "$test" ] || go -C internal/bench test -c -o "$test" . || fail "build of internal/bench"

# bench NAME TIME PATTERN: the benchmarks of one round that match.
bench() {
	[ ! -f "$dir/$1" ] || return 0
	enough
	echo "-- $1" >&2
	"$test" -test.run '^$' -test.bench "$3" -test.benchtime "${BENCH_TIME:-$2}" -test.timeout 10m >"$dir/part" || fail "benchmarks: $1"
	mv "$dir/part" "$dir/$1"
}
for round in $(seq "$count"); do
	export BENCH_ROUND=$round # each begins with another library
	bench "round-$round-cpu" 0.1s '^Benchmark(Delay|FirstTry|Retry|Timer|Hash|Query)$'
	bench "round-$round-hit" 0.1s '^BenchmarkHit$'
	bench "round-$round-requests" 2000x '^BenchmarkRequest$'
	bench "round-$round-accept" 6000x '^BenchmarkAccept$'
done

# behave NAME PATTERN: tables of behaviour.
behave() {
	[ ! -f "$dir/behaviour-$1" ] || return 0
	enough
	echo "-- $1" >&2
	mkdir -p "$dir/tables"
	BENCH_TABLES=$dir/tables "$test" -test.v -test.run "$2" >"$dir/part" || {
		cat "$dir/part" >&2
		fail "behaviour: $1"
	}
	mv "$dir/part" "$dir/behaviour-$1"
}
[ "$count" -lt 4 ] || export BENCH_FULL=1
behave backoff '^Test(Fleet|DoomedWait)$'
behave caches '^Test(BytesPerEntry|HitRatio|UniqueKeyStorm|Accidents|Flood)$'
behave sockets '^Test(ConnectionsUnread|StalledBodyAndColdBurst|Livelock)$'
behave pools '^Test(Churn|Restart|ColdPool)$'

# The rounds in their order, and benchstat over all of them.
rounds=()
for round in $(seq "$count"); do
	rounds+=("$dir/round-$round-"{cpu,hit,requests,accept})
done
grep -h '^Benchmark\|^goos\|^goarch\|^cpu\|^pkg' "${rounds[@]}" >"$dir/raw.txt"
benchstat() { tool benchstat -col /lib "$@" "$dir/raw.txt" 2>"$dir/warnings" || fail "benchstat $*"; }
benchstat -format csv >"$dir/stats.csv"
sed -nE 's|^Benchmark([A-Za-z]+)/.*|\1|p' "$dir/raw.txt" | awk '!seen[$0]++' >"$dir/names"
while read -r name; do
	benchstat -filter ".name:$name" | grep -v '^goos\|^goarch\|^cpu\|^pkg' >"$dir/stats-$name.txt"
done <"$dir/names"
sed -n 's/^cpu: //p' "$dir/raw.txt" | head -n 1 >"$dir/cpu.txt"
go -C internal/bench list -m -f '{{if not (or .Main .Indirect .Replace)}}{{.Path}} {{.Version}}{{end}}' all |
	grep -v 'testify\|goleak' >"$dir/peers.txt"

(cd internal/bench && go build -o "$dir/page" ./page) || fail "build of internal/bench/page"
"$dir/page" -dir "$dir" -command "$command" -rounds "$count" -date "$(date -u +%F)" -note "${BENCH_NOTE:-}" >"$dir/page.md" || fail "the page"
cat "$dir/page.md" >"$out"
