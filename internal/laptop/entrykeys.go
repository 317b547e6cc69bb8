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

	"keyway/internal/bounded"
	"keyway/internal/keyway"
	"keyway/internal/sshconfig"
)

// PublicKey is a key that may enter a workspace.
type PublicKey struct {
	ssh.PublicKey
	Comment string
}

// Line returns the key in authorized_keys form.
func (k PublicKey) Line() string {
	text := strings.TrimSpace(string(ssh.MarshalAuthorizedKey(k)))
	if k.Comment != "" {
		text += " " + strings.ToValidUTF8(k.Comment, "\uFFFD") // of any encoding, and only for people
	}
	return text
}

func (k PublicKey) is(other ssh.PublicKey) bool { return bytes.Equal(k.Marshal(), other.Marshal()) }

// KeySet is the keys that shall be able to enter a workspace, and how ssh finds them.
type KeySet struct {
	Keys []PublicKey
	Why  string // these keys
	// Agent is the socket of the agent that holds them, where it is only the
	// configuration of ssh that names it; empty: the usual one.
	Agent string
	// Files are private key files, which no agent holds and which have no passphrase.
	Files []string
	// listed is all that the agent listed, with the certificates.
	listed []PublicKey
}

// EntryKeys returns the keys that may enter a workspace at place: those that the user named;
// otherwise those that the user's ssh has for the place; otherwise all that its agent holds.
func (here *Laptop) EntryKeys(ctx context.Context, place keyway.Place, named []string) (KeySet, error) {
	host := configured(ctx, place)
	agent, listed, noAgent := here.agentOf(ctx, host)
	if ctx.Err() != nil {
		return KeySet{}, ctx.Err()
	}
	e, held := KeySet{Agent: agent, listed: listed}, entering(listed)
	switch {
	case len(named) > 0:
		keys, err := pickKeys(named, held)
		if err != nil {
			return e, err
		}
		e.Keys, e.Why = keys, "named by you"
		e.Files = openFiles(ctx, named, held)
	case noAgent != nil:
		e.Why = "of the key files that your ssh has for " + string(place)
		e.Files = openFiles(ctx, host.KeyFiles(), nil)
		for _, file := range e.Files {
			if key, err := keyOfFile(ctx, file); err == nil {
				e.Keys = append(e.Keys, key)
			}
		}
		if len(e.Keys) == 0 {
			return e, noAgent
		}
	default:
		e.Keys, e.Why = held, "all that the agent holds"
		if meant := meantKeys(host, held); len(meant) > 0 {
			e.Keys, e.Why = meant, "which your ssh has for "+string(place)
		}
	}
	return e, nil
}

// configured returns the user's configuration of ssh for a place, or nothing if ssh cannot
// resolve it: connecting will then report the reason.
func configured(ctx context.Context, place keyway.Place) sshconfig.Host {
	if place == keyway.Local {
		place = "localhost" // no host is logged in to: what holds for all of them
	}
	host, err := sshconfig.Resolve(ctx, place)
	if err != nil {
		return sshconfig.Host{}
	}
	return host
}

// meantKeys returns the keys of held that the user's configuration names for a host, or that ssh
// takes from its default files. A key that the agent does not hold would not enter without a
// question.
func meantKeys(host sshconfig.Host, held []PublicKey) []PublicKey {
	var meant []PublicKey
	for _, file := range host.KeyFiles() {
		key, err := ReadPublicKey(file)
		if err != nil {
			continue
		}
		if i := slices.IndexFunc(held, func(h PublicKey) bool { return h.is(key) }); i >= 0 {
			meant = append(meant, held[i])
		}
	}
	return meant
}

// openFiles returns those of the files that are private keys without a passphrase and are not
// among the keys that an agent holds.
func openFiles(ctx context.Context, files []string, held []PublicKey) (open []string) {
	for _, file := range files {
		file, err := filepath.Abs(strings.TrimSuffix(file, ".pub"))
		if err != nil || !sshconfig.CanName(file) {
			continue
		}
		key, err := keyOfFile(ctx, file)
		if err == nil && !slices.ContainsFunc(held, func(other PublicKey) bool { return key.is(other) }) {
			open = append(open, file)
		}
	}
	return open
}

// keyOfFile returns the public key of a private key file without a passphrase,
// as ssh-keygen has it: it reads every form that ssh reads, and refuses a file
// that others may read as ssh does.
func keyOfFile(ctx context.Context, file string) (PublicKey, error) {
	if info, err := os.Stat(file); err != nil || !info.Mode().IsRegular() {
		return PublicKey{}, fmt.Errorf("%s is not a file", file)
	}
	out, err := exec.CommandContext(ctx, "ssh-keygen", "-y", "-P", "", "-f", file).Output()
	if err != nil {
		return PublicKey{}, err
	}
	key, comment, _, _, err := ssh.ParseAuthorizedKey(out)
	return PublicKey{key, comment}, err
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
			return nil, keyway.Errorf(keyway.NoKey, "%s is neither a key file nor the fingerprint or comment of a key that the agent holds: %w", name, err).
				Advise(keyway.IsKeyUnlocked)
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

// agentOf returns the agent that has keys for a host, and all keys that it lists. It is keyway's
// agent, if that holds any; otherwise the one that the user's configuration names; otherwise the
// usual one, whose socket is empty here. If there is no key, the error names the next step.
func (here *Laptop) agentOf(ctx context.Context, host sshconfig.Host) (socket string, listed []PublicKey, err error) {
	usual, err := here.agentLists(ctx, "")
	named, _ := host.Agent()
	if named != "" && sshconfig.CanName(named) && (len(usual) == 0 || !isSocket(here.agentPath())) {
		more, otherErr := here.agentLists(ctx, named)
		if otherErr == nil && len(more) > 0 {
			return named, more, nil
		}
		if len(usual) == 0 {
			return "", nil, unlistedAgent(named, otherErr)
		}
	}
	if err == nil && len(usual) == 0 {
		err = keyway.Errorf(keyway.NoKey, "the agent is locked or holds no key").Advise(keyway.UnlockYours)
	}
	return "", usual, err
}

// Held returns the keys that may be used for any host without a file of them in ~/.ssh:
// those that the user's agent holds, be it keyway's, the one of SSH_AUTH_SOCK or the one
// that the configuration names. where is the socket of the last; empty: it is another.
func (here *Laptop) Held(ctx context.Context) (keys []PublicKey, where string) {
	where, listed, err := here.agentOf(ctx, configured(ctx, keyway.Local))
	if err != nil {
		return nil, ""
	}
	return entering(listed), where
}

// unlistedAgent returns the reason why an agent that the user's configuration names has not
// listed its keys.
func unlistedAgent(named string, err error) error {
	what := "is locked or holds no key"
	if err != nil {
		what = "cannot be reached"
	}
	return keyway.Errorf(keyway.NoKey, "the agent at %s, which your ~/.ssh/config names (IdentityAgent), %s", named, what).
		Hint("start or unlock the program that it belongs to").Advise(keyway.UnlockKey)
}

// entering returns the keys in an agent's list. Most keys of certificates are also listed by
// themselves; such a key counts once.
func entering(listed []PublicKey) (keys []PublicKey) {
	for _, k := range listed {
		if cert, ok := k.PublicKey.(*ssh.Certificate); ok {
			k.PublicKey = cert.Key
		}
		if !slices.ContainsFunc(keys, func(other PublicKey) bool { return k.is(other) }) {
			keys = append(keys, k)
		}
	}
	return keys
}

// maxAgentLists bounds the list of an agent's keys in bytes.
const maxAgentLists = 4 << 20

// addList runs ssh-add -L with the agent at socket; empty: the usual one. said is its standard
// error.
func (here *Laptop) addList(ctx context.Context, socket string) (list []byte, said string, err error) {
	out, errs := bounded.Buffer{Max: maxAgentLists}, bounded.Buffer{Max: maxSaid}
	cmd := exec.CommandContext(ctx, "ssh-add", "-L")
	cmd.Env, cmd.Stdout, cmd.Stderr = here.Environ(), &out, &errs
	if socket != "" {
		cmd.Env = append(cmd.Env, "SSH_AUTH_SOCK="+socket)
	}
	err = cmd.Run()
	return out.Bytes(), strings.TrimSpace(errs.String()), err
}

// agentLists returns all keys that the agent at socket holds. An empty socket means the usual
// agent.
func (here *Laptop) agentLists(ctx context.Context, socket string) ([]PublicKey, error) {
	out, said, err := here.addList(ctx, socket)
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.ExitCode() == 2 {
		return nil, keyway.Errorf(keyway.NoKey, "there is no ssh agent: %s", said).
			Advise(keyway.StartAgent)
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

// Locked returns the key files whose keys the agent does not hold.
func (here *Laptop) Locked(ctx context.Context, files []string) ([]string, error) {
	held, _, err := here.addList(ctx, "")
	if exit := new(exec.ExitError); err != nil && !errors.As(err, &exit) {
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
