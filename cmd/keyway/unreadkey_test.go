package main

import (
	"testing"
	"time"
)

// TestUnreadKey checks that a key file that ssh-add cannot read is not reported as one with a wrong
// passphrase.
func TestUnreadKey(t *testing.T) {
	for said, want := range map[string][2]string{
		"": {},
		"Enter passphrase for /h/id: \r\nBad passphrase, try again for /h/id: \r\n":                 {},
		"Error loading key \"/h/id\": incorrect passphrase supplied to decrypt private key\r\n":     {},
		"Error loading key \"/h/id\": error in libcrypto\r\n":                                       {"/h/id", "error in libcrypto"},
		"Enter passphrase for /h/id: \nError loading key \"/h/my \"id\": invalid format\nthe end\n": {`/h/my "id`, "invalid format"},
	} {
		file, why, ok := unreadKey(said)
		if got := [2]string{file, why}; got != want || ok != (want[0] != "") {
			t.Errorf("%q: %q, %t", said, got, ok)
		}
	}
}

// TestMoment checks that a time a week away has a date besides the day of the week.
func TestMoment(t *testing.T) {
	now := time.Date(2026, 11, 30, 8, 0, 0, 0, time.Local)
	for after, want := range map[time.Duration]string{
		0: "Mon 08:00:00", 6 * 24 * time.Hour: "Sun 08:00:00", 7 * 24 * time.Hour: "Mon 2026-12-07 08:00:00",
	} {
		if got := moment(now.Add(after), now); got != want {
			t.Errorf("after %s: %q, want %q", after, got, want)
		}
	}
}
