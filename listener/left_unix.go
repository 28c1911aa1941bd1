//go:build unix && !linux

package listener

// left reports whether the client of a socket has left. One that has only
// finished writing looks the same, so half asks nothing; nor is a client noticed
// that has sent something before it left.
func left(fd uintptr, _, half bool) bool { return !half && ended(int(fd)) }
