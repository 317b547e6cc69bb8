package mux

import (
	"net"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"
)

// TestForwardsPrintPlainText checks that neither a guest's refusal nor a target that a program in
// the guest names can control the user's terminal.
func TestForwardsPrintPlainText(t *testing.T) {
	var errs strings.Builder
	f := &forward{guest: &guest{open: t.Context()}, conns: map[net.Conn]struct{}{nil: {}}}
	f.tell(&errs, 2)
	f.sayRefused(&ssh.OpenChannelError{Reason: ssh.ConnectionFailed, Message: "no\x1b[2J\r\nway"})
	if _, err := f.dial(target{"/no\x1b]0;such\x07", onPath}); err == nil {
		t.Error("there is such a socket")
	}
	want := "channel 2: open failed: connect failed: no?[2J way\r\nconnect to /no?]0;such? port -2 failed: No such file or directory\r\n"
	if errs.String() != want {
		t.Errorf("%q, not %q", errs.String(), want)
	}
}
