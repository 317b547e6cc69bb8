package sshconfig

import (
	"context"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"

	"keyway/internal/keyway"
)

// FastCiphers returns the options that make an ssh to place prefer AES-GCM, which moves twice as
// much as ssh's default. It returns none if the configuration, the user's or the machine's, sets
// ciphers, or if ssh cannot be asked. The configuration may depend on anything (Match exec), so ssh
// is asked each time; its defaults are asked for once.
func FastCiphers(ctx context.Context, place keyway.Place) []string {
	return builtIn.fast(ctx, resolver{}, string(place))
}

// builtIn has the defaults of this machine's ssh.
var builtIn defaultCiphers

// defaultCiphers remembers the ciphers that an ssh prefers when it is not
// configured, as long as it is the same program.
type defaultCiphers struct {
	mu      sync.Mutex
	program os.FileInfo
	list    string
}

func (d *defaultCiphers) fast(ctx context.Context, r resolver, host string) []string {
	var configured, builtIn string
	var both sync.WaitGroup
	both.Go(func() { configured = r.ciphers(ctx, host) })
	both.Go(func() { builtIn = d.get(ctx) })
	both.Wait()
	if configured == "" || configured != builtIn {
		return nil
	}
	if list := gcmFirst(builtIn); list != builtIn {
		return []string{"-o", "Ciphers=" + list}
	}
	return nil
}

// get returns the list of ciphers, or empty if ssh cannot be asked.
func (d *defaultCiphers) get(ctx context.Context) string {
	program, err := sshProgram()
	if err != nil {
		return ""
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.list == "" || !sameProgram(d.program, program) {
		d.program, d.list = program, resolver{options: []string{"-F", "none"}}.ciphers(ctx, noHost)
	}
	return d.list
}

func sshProgram() (os.FileInfo, error) {
	path, err := exec.LookPath("ssh")
	if err != nil {
		return nil, err
	}
	return os.Stat(path)
}

// sameProgram returns false for a program and its replacement, at its path or elsewhere on PATH.
func sameProgram(a, b os.FileInfo) bool {
	return os.SameFile(a, b) && a.Size() == b.Size() && a.ModTime().Equal(b.ModTime())
}

func (r resolver) ciphers(ctx context.Context, host string) string {
	out, err := r.run(ctx, host)
	if err != nil {
		return "" // the ssh that is about to be started says it better
	}
	for line := range strings.Lines(out) {
		if keyword, value, _ := strings.Cut(strings.TrimRight(line, "\r\n"), " "); keyword == "ciphers" {
			return value
		}
	}
	return ""
}

// gcmFirst returns the list of ciphers with those that are AES-GCM before the others.
func gcmFirst(list string) string {
	all := strings.Split(list, ",")
	isGCM := func(cipher string) bool { return strings.HasSuffix(cipher, "-gcm@openssh.com") }
	slices.SortStableFunc(all, func(a, b string) int {
		switch {
		case isGCM(a) == isGCM(b):
			return 0
		case isGCM(a):
			return -1
		}
		return 1
	})
	return strings.Join(all, ",")
}
