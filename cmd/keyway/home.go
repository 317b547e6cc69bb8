package main

import (
	"os"

	"keyway/internal/account"
)

// findHome sets HOME if the program that started this one has not, as cron and services may do:
// to the user's home directory, which ssh also finds without it.
func findHome() {
	if os.Getenv("HOME") != "" || os.Getuid() < 0 { // on Windows, no command needs it
		return
	}
	if e, ok := account.Lookup(os.Getuid()); ok && e.Home != "" {
		os.Setenv("HOME", e.Home)
	}
}
