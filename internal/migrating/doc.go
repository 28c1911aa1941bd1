// Package migrating holds the code of docs/MIGRATING.md, before and after, in tests
// that run both. The page shows each function as it stands here.
package migrating
