package main

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"keyway/internal/keyway"
)

// TestASlowConfigurationHoldsUpNoOther checks that an ssh that takes long to answer for one
// workspace delays neither another workspace nor a second question about the same.
func TestASlowConfigurationHoldsUpNoOther(t *testing.T) {
	dir := t.TempDir()
	begun, end := filepath.Join(dir, "begun"), filepath.Join(dir, "end")
	for _, fifo := range []string{begun, end} {
		if err := syscall.Mkfifo(fifo, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	script := "#!/bin/sh\nfor name; do :; done\nif [ $name = slow ]; then : >" + begun + "; read x <" + end + "; fi\necho bad $name >&2; exit 255\n"
	if err := os.WriteFile(filepath.Join(dir, "ssh"), []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	s := &suited{all: map[keyway.Name]*suit{}}
	slow := make(chan error, 1)
	go func() { slow <- s.suits(ctx, "slow") }()
	if _, err := os.ReadFile(begun); err != nil {
		t.Fatal(err)
	}
	if err := s.suits(ctx, "quick"); err == nil || !strings.Contains(err.Error(), "bad quick") {
		t.Errorf("quick: %v", err)
	}
	select {
	case err := <-slow:
		t.Fatalf("quick has waited for slow: %v", err)
	default:
	}
	known := s.of("slow")
	joined := known.finding.Load()
	cancel() // ends the ssh
	err := <-slow
	if err == nil || known.finding.Load() != nil {
		t.Fatalf("slow: %v, and finding it out goes on: %v", err, known.finding.Load())
	}
	known.finding.Store(joined) // as for one that arrived in the meantime
	if again := s.suits(t.Context(), "slow"); again != err {
		t.Errorf("one that came meanwhile hears %v, want %v", again, err)
	}
}
