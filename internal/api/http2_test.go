package api

import (
	"os"
	"testing"
)

// TestGODEBUGSwitchesNothingOff checks that link and node understand each other although the user's environment
// switches HTTP/2 off, on either side, and that other programs get that environment unchanged.
func TestGODEBUGSwitchesNothingOff(t *testing.T) {
	for _, value := range []string{"http2client=0", "http2server=0", "gctrace=0,http2client=0,http2server=0,madvdontneed=1", "http2debug=0", ""} {
		t.Run(value, func(t *testing.T) {
			t.Setenv("GODEBUG", value)
			c := serve(t, fakeNode{list: func() (Listing, error) { return Listing{}, nil }})
			if _, err := c.List(t.Context()); err != nil {
				t.Error(err)
			}
			if got := os.Getenv("GODEBUG"); got != value {
				t.Errorf("GODEBUG is %q now", got)
			}
		})
	}
}
