// Package bench holds the packages of this repository against their peers: speed,
// and what a storm does to each. It has no code that anybody imports, and it is a
// module of its own, so that no user inherits a peer.
//
//	go test ./...                              # what each does, as assertions and tables
//	go test -run '^$' -bench . -benchmem ./... # how fast
//	make bench                                 # both, several times over, into docs/BENCHMARKS.md
//
// A benchmark is named after what is compared, and its last part is lib=NAME, so
// that benchstat -col /lib puts the libraries beside each other. Peers are used as
// their own documentation says, and in the form that is fastest where there are
// several. Behaviour is compared where it is deterministic: in a synctest bubble,
// or by counting on the server's side.
package bench
