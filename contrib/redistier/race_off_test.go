//go:build !race

package redistier_test

const raceEnabled = false
