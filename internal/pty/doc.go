// Package pty opens pseudo-terminals.
package pty
