package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/crypto/ssh"

	"keyway/internal/keyway"
	"keyway/internal/plain"
	"keyway/internal/sshconfig"
)

// publicKey is a key that may enter a workspace.
type publicKey struct {
	ssh.PublicKey
	comment string
}

// line is the key in authorized_keys form.
func (k publicKey) line() string {
	text := strings.TrimSpace(string(ssh.MarshalAuthorizedKey(k)))
	if k.comment != "" {
		text += " " + k.comment
	}
	return text
}

func (k publicKey) is(other ssh.PublicKey) bool { return bytes.Equal(k.Marshal(), other.Marshal()) }

// entryKeys are the keys that shall be able to enter a workspace at place, and why
// these: those that the user named; else those that the user's ssh has for the
// place; else all that the agent holds.
func (a *app) entryKeys(ctx context.Context, place keyway.Place, named []string) ([]publicKey, string, error) {
	held, noAgent := a.agentKeys(ctx)
	if ctx.Err() != nil {
		return nil, "", ctx.Err()
	}
	if len(named) > 0 {
		keys, err := pickKeys(named, held)
		return keys, "named by --key", err
	}
	if noAgent != nil {
		return nil, "", noAgent
	}
	if meant := meantKeys(ctx, place, held); len(meant) > 0 {
		return meant, "which your ssh has for " + string(place), nil
	}
	return held, "all that the agent holds", nil
}

// tellKeys says which keys may enter.
func tellKeys(news io.Writer, keys []publicKey, why string) {
	fmt.Fprintf(news, "keys that may enter (%s):\n", why)
	for _, k := range keys {
		fmt.Fprintf(news, "  %s %s\n", ssh.FingerprintSHA256(k), plain.Line(k.comment))
	}
}

// meantKeys are those of held that the user's configuration names for a place, or
// that ssh takes from its usual files.
func meantKeys(ctx context.Context, place keyway.Place, held []publicKey) []publicKey {
	if place == keyway.Local {
		place = "localhost" // no host is logged in to: what holds for all of them
	}
	host, err := sshconfig.Resolve(ctx, place)
	if err != nil {
		return nil // reaching the place will tell
	}
	home, _ := os.UserHomeDir()
	var meant []publicKey
	for _, file := range host.IdentityFiles {
		if rest, ok := strings.CutPrefix(file, "~/"); ok {
			file = filepath.Join(home, rest)
		}
		key, err := readPublicKey(strings.ReplaceAll(file, "%d", home))
		if err != nil {
			continue
		}
		// What the agent does not hold would not get in unasked.
		if i := slices.IndexFunc(held, func(h publicKey) bool { return h.is(key) }); i >= 0 {
			meant = append(meant, held[i])
		}
	}
	return meant
}

// pickKeys finds the keys that the user named: by file, or by fingerprint or
// comment among those that the agent holds.
func pickKeys(named []string, held []publicKey) ([]publicKey, error) {
	var keys []publicKey
	for _, name := range named {
		i := slices.IndexFunc(held, func(h publicKey) bool {
			return ssh.FingerprintSHA256(h) == name || h.comment != "" && h.comment == name
		})
		if i >= 0 {
			keys = append(keys, held[i])
			continue
		}
		key, err := readPublicKey(name)
		if err != nil {
			return nil, keyway.Errorf(keyway.NoKey, "--key %s is neither a key file nor the fingerprint or comment of a key that the agent holds: %w", name, err).
				Hint("see what it holds: ssh-add -l")
		}
		keys = append(keys, key)
	}
	return keys, nil
}

// maxKeyFile bounds a key file in bytes.
const maxKeyFile = 64 << 10

// readPublicKey reads a public key file, or that of a private one beside it.
func readPublicKey(file string) (publicKey, error) {
	if !strings.HasSuffix(file, ".pub") {
		file += ".pub"
	}
	f, err := os.Open(file)
	if err != nil {
		return publicKey{}, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxKeyFile))
	if err != nil {
		return publicKey{}, err
	}
	key, comment, _, _, err := ssh.ParseAuthorizedKey(data)
	if err != nil {
		return publicKey{}, fmt.Errorf("%s holds no public key", file)
	}
	return publicKey{key, comment}, nil
}

// agentKeys are the keys that the agent holds, without certificates, whose keys are
// listed beside them. Without any there is an error that says what to do.
func (a *app) agentKeys(ctx context.Context) ([]publicKey, error) {
	keys, err := a.agentLists(ctx)
	if err != nil {
		return nil, err
	}
	keys = slices.DeleteFunc(keys, func(k publicKey) bool {
		_, certified := k.PublicKey.(*ssh.Certificate)
		return certified
	})
	if len(keys) == 0 {
		return nil, keyway.Errorf(keyway.NoKey, "the ssh agent holds no key").Hint("unlock yours: keyway unlock")
	}
	return keys, nil
}

// agentLists is all that the agent holds.
func (a *app) agentLists(ctx context.Context) ([]publicKey, error) {
	cmd := exec.CommandContext(ctx, "ssh-add", "-L")
	cmd.Env = a.environ()
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.ExitCode() == 2 {
		return nil, keyway.Errorf(keyway.NoKey, "there is no ssh agent: %s", strings.TrimSpace(stderr.String())).
			Hint("start one and unlock your key: keyway unlock")
	}
	if err != nil && !errors.As(err, &exit) {
		return nil, keyway.Errorf(keyway.NoKey, "the agent cannot be asked: %w", err).
			Hint("install the OpenSSH client (Debian: apt-get install openssh-client)")
	}
	var keys []publicKey
	for lines := bufio.NewScanner(bytes.NewReader(out)); lines.Scan(); {
		if key, comment, _, _, err := ssh.ParseAuthorizedKey(lines.Bytes()); err == nil {
			keys = append(keys, publicKey{key, comment})
		}
	}
	return keys, nil
}
