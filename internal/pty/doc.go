// Package pty opens pseudo-terminals. Begin with Open.
package pty
