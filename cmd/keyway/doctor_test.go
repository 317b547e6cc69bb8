package main

import (
	"strings"
	"testing"

	"keyway/internal/laptop"
)

func TestPrintFindings(t *testing.T) {
	var b strings.Builder
	printFindings(&b, []laptop.Finding{
		{Check: "ssh", Health: laptop.Healthy, Message: "OpenSSH 9.2"},
		{Check: "agent", Health: laptop.Warning, Message: "it holds no key", Next: "one\ntwo"},
	})
	const want = "ok    ssh          OpenSSH 9.2\n" +
		"warn  agent        it holds no key\n" +
		"                   → one\n" +
		"                   → two\n"
	if b.String() != want {
		t.Errorf("got\n%s", b.String())
	}
}
