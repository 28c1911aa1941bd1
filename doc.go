// Package connhygiene is the landing page of five small packages that keep
// connections healthy; it holds no code.
package connhygiene
