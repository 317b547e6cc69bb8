package laptop

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
	"keyway/internal/sshconfig"
)

// PublicKey is a key that may enter a workspace.
type PublicKey struct {
	ssh.PublicKey
	Comment string
}

// Line is the key in authorized_keys form.
func (k PublicKey) Line() string {
	text := strings.TrimSpace(string(ssh.MarshalAuthorizedKey(k)))
	if k.Comment != "" {
		text += " " + k.Comment
	}
	return text
}

func (k PublicKey) is(other ssh.PublicKey) bool { return bytes.Equal(k.Marshal(), other.Marshal()) }

// EntryKeys are the keys that shall be able to enter a workspace at place, and why
// these: those that the user named; else those that the user's ssh has for the
// place; else all that the agent holds.
func (here *Laptop) EntryKeys(ctx context.Context, place keyway.Place, named []string) ([]PublicKey, string, error) {
	held, noAgent := here.agentKeys(ctx)
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

// meantKeys are those of held that the user's configuration names for a place, or
// that ssh takes from its usual files.
func meantKeys(ctx context.Context, place keyway.Place, held []PublicKey) []PublicKey {
	if place == keyway.Local {
		place = "localhost" // no host is logged in to: what holds for all of them
	}
	host, err := sshconfig.Resolve(ctx, place)
	if err != nil {
		return nil // reaching the place will tell
	}
	home, _ := os.UserHomeDir()
	var meant []PublicKey
	for _, file := range host.IdentityFiles {
		if rest, ok := strings.CutPrefix(file, "~/"); ok {
			file = filepath.Join(home, rest)
		}
		key, err := ReadPublicKey(strings.ReplaceAll(file, "%d", home))
		if err != nil {
			continue
		}
		// What the agent does not hold would not get in unasked.
		if i := slices.IndexFunc(held, func(h PublicKey) bool { return h.is(key) }); i >= 0 {
			meant = append(meant, held[i])
		}
	}
	return meant
}

// pickKeys finds the keys that the user named: by file, or by fingerprint or
// comment among those that the agent holds.
func pickKeys(named []string, held []PublicKey) ([]PublicKey, error) {
	var keys []PublicKey
	for _, name := range named {
		i := slices.IndexFunc(held, func(h PublicKey) bool {
			return ssh.FingerprintSHA256(h) == name || h.Comment != "" && h.Comment == name
		})
		if i >= 0 {
			keys = append(keys, held[i])
			continue
		}
		key, err := ReadPublicKey(name)
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

// ReadPublicKey reads a public key file, or that of a private one beside it.
func ReadPublicKey(file string) (PublicKey, error) {
	if !strings.HasSuffix(file, ".pub") {
		file += ".pub"
	}
	f, err := os.Open(file)
	if err != nil {
		return PublicKey{}, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxKeyFile))
	if err != nil {
		return PublicKey{}, err
	}
	key, comment, _, _, err := ssh.ParseAuthorizedKey(data)
	if err != nil {
		return PublicKey{}, fmt.Errorf("%s holds no public key", file)
	}
	return PublicKey{key, comment}, nil
}

// agentKeys are the keys that the agent holds, without certificates, whose keys are
// listed beside them. Without any there is an error that says what to do.
func (here *Laptop) agentKeys(ctx context.Context) ([]PublicKey, error) {
	keys, err := here.agentLists(ctx)
	if err != nil {
		return nil, err
	}
	keys = slices.DeleteFunc(keys, func(k PublicKey) bool {
		_, certified := k.PublicKey.(*ssh.Certificate)
		return certified
	})
	if len(keys) == 0 {
		return nil, keyway.Errorf(keyway.NoKey, "the ssh agent holds no key").Hint("unlock yours: keyway unlock")
	}
	return keys, nil
}

// agentLists is all that the agent holds.
func (here *Laptop) agentLists(ctx context.Context) ([]PublicKey, error) {
	cmd := exec.CommandContext(ctx, "ssh-add", "-L")
	cmd.Env = here.Environ()
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
	var keys []PublicKey
	for lines := bufio.NewScanner(bytes.NewReader(out)); lines.Scan(); {
		if key, comment, _, _, err := ssh.ParseAuthorizedKey(lines.Bytes()); err == nil {
			keys = append(keys, PublicKey{key, comment})
		}
	}
	return keys, nil
}

// Locked are those of the key files whose key the agent does not hold.
func (here *Laptop) Locked(ctx context.Context, files []string) ([]string, error) {
	cmd := exec.CommandContext(ctx, "ssh-add", "-L")
	cmd.Env = here.Environ()
	held, err := cmd.Output()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		return nil, err
	}
	var locked []string
	for _, f := range files {
		if _, err := os.Stat(f); err != nil {
			return nil, keyway.Errorf(keyway.NoKey, "the key file cannot be used: %w", err).Hint("see which there are: ls ~/.ssh")
		}
		public, err := os.ReadFile(f + ".pub")
		words := strings.Fields(string(public))
		if err != nil || len(words) < 2 || !strings.Contains(string(held), words[1]) {
			locked = append(locked, f)
		}
	}
	return locked, nil
}
