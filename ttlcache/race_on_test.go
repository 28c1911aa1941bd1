//go:build race

package ttlcache_test

const raceEnabled = true
