package sshconfig

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"path/filepath"
	"runtime"
	"strings"
	"unicode"

	"keyway/internal/keyway"
)

// aliasSuffix makes a workspace's name in known_hosts: a name of its own, that
// no host of the network has.
const aliasSuffix = ".keyway"

const configHead = `# Written by keyway, which rewrites it whenever a workspace is added or removed:
# changes made here are lost. ~/.ssh/config includes this file at its top, and
# ssh takes the first value it finds, so what is said here holds.
`

// hostOptions come after each Host line's own options, with the reason for each
// that is not plain. Where a user's own Host * would break the connection, the
// option is set although it is ssh's default.
const hostOptions = `  StrictHostKeyChecking yes
  CheckHostIP no
  UpdateHostKeys no
  VerifyHostKeyDNS no
  CanonicalizeHostname no
  PubkeyAuthentication yes
  IdentitiesOnly no
  PreferredAuthentications publickey
  Ciphers ^aes128-gcm@openssh.com,aes256-gcm@openssh.com
  ConnectTimeout 300
  ServerAliveInterval 0
  TCPKeepAlive no
`

// The reasons for the less obvious options:
//   - AES-GCM first: a Go server moves 748 MiB/s with it, 340 with the default.
//   - ConnectTimeout: the first connection to a place may copy a program there,
//     or wait for a one-time code; keyway proxy says itself when it gives up.
//   - ServerAliveInterval, TCPKeepAlive: ssh must not end a connection that only
//     stalls; the link decides what is dead.
//   - IdentitiesOnly no: the keys that may enter are those of the agent today, and a
//     user's Host * must not shut them out. The guest does not count those that it
//     does not know.
//   - never ProxyUseFdpass: another ProxyCommand, given on the command line or by
//     mosh, would have to pass a descriptor, too; the link takes ssh's pipes over.
//   - never RequestTTY: it breaks sftp and editors.

// renderConfig returns the ssh_config for entries.
func renderConfig(entries []Entry, c Client, knownHosts, unproved string) ([]byte, error) {
	proxy, err := proxyCommand(c.Program)
	if err != nil {
		return nil, err
	}
	known, err := quotePath(knownHosts)
	if err != nil {
		return nil, err
	}
	both, err := quotePath(unproved)
	if err != nil {
		return nil, err
	}
	both = known + " " + both
	agent := ""
	if c.Agent != "" {
		path, err := quotePath(c.Agent)
		if err != nil {
			return nil, err
		}
		agent = "  IdentityAgent " + path + "\n  AddKeysToAgent yes\n"
	}
	forward := "yes"
	if c.Forward != "" {
		if forward, err = quotePath(c.Forward); err != nil {
			return nil, err
		}
	}
	var b bytes.Buffer
	b.WriteString(configHead)
	for _, e := range entries {
		files := known
		if e.Proved.IsZero() {
			files = both // it moves to the other when it has proved itself, perhaps while an ssh is reading this
		}
		keys, err := e.Sent.render(agent)
		if err != nil {
			return nil, err
		}
		mux, err := muxOptions(e, c.Mux)
		if err != nil {
			return nil, err
		}
		if err := renderHost(&b, e, proxy, files, keys+mux, forward); err != nil {
			return nil, err
		}
	}
	return b.Bytes(), nil
}

// render returns the lines with which ssh finds the keys, and those for the usual agent.
func (s Sent) render(agent string) (string, error) {
	if s.Agent != "" {
		path, err := quotePath(s.Agent)
		if err != nil {
			return "", err
		}
		agent = "  IdentityAgent " + path + "\n"
	}
	for _, file := range s.Files {
		path, err := quotePath(file)
		if err != nil {
			return "", err
		}
		agent += "  IdentityFile " + path + "\n"
	}
	return agent, nil
}

func renderHost(b *bytes.Buffer, e Entry, proxy, knownHosts, keys, forward string) error {
	key, err := ParseHostKey(e.HostKey)
	if err != nil {
		return err
	}
	if !e.ForwardAgent {
		forward = "no"
	}
	fmt.Fprintf(b, "\n# %s\nHost %s\n", strings.TrimSpace(e.Engine+" at "+string(e.Place)), e.Name)
	fmt.Fprintf(b, "  HostName %s\n  Port 22\n  User %s\n", e.Name, e.User)
	fmt.Fprintf(b, "  ProxyCommand %s\n", fmt.Sprintf(proxy, e.Name))
	b.WriteString(keys)
	fmt.Fprintf(b, "  ForwardAgent %s\n", forward)
	fmt.Fprintf(b, "  HostKeyAlias %s%s\n  HostKeyAlgorithms %s\n", e.Name, aliasSuffix, hostKeyAlgorithms(key))
	fmt.Fprintf(b, "  UserKnownHostsFile %s\n", knownHosts)
	b.WriteString(hostOptions)
	return nil
}

// renderKnownHosts returns the known_hosts for the entries that have proved themselves, or for the
// others. It encodes the keys again: no byte of a workspace's answer gets into the file unchanged.
func renderKnownHosts(entries []Entry, proved bool) []byte {
	var b bytes.Buffer
	for _, e := range entries {
		if e.Proved.IsZero() == proved {
			continue
		}
		if key, err := ParseHostKey(e.HostKey); err == nil {
			text := key.Type() + " " + base64.StdEncoding.EncodeToString(key.Marshal())
			fmt.Fprintf(&b, "%s%s %s\n", e.Name, aliasSuffix, text)
			fmt.Fprintf(&b, "%s %s\n", e.Name, text) // for clients without HostKeyAlias
		}
	}
	return b.Bytes()
}

// proxyCommand returns the format of the ProxyCommand, with %s for the
// workspace's name.
func proxyCommand(program string) (string, error) {
	if !filepath.IsAbs(program) {
		return "", keyway.Errorf(keyway.BadConfig, "ssh needs the absolute path of keyway, not %q", program)
	}
	if hasControl(program) {
		return "", keyway.Errorf(keyway.BadConfig, "keyway lies at a path that ssh cannot be given: %q", program).
			Hint("move it to a directory with a plain name")
	}
	// fmt and ssh both read % as the start of something: %%%% leaves %% for ssh
	word := strings.ReplaceAll(shellWord(program), "%", "%%%%")
	return word + " proxy %s", nil
}

// shellWord returns path as one word for the user's login shell. It uses backslashes and no quotes,
// because ssh_config interprets quotes in its own way, and its escapes agree with those of sh, csh
// and fish only outside of quotes.
func shellWord(path string) string {
	if runtime.GOOS == "windows" {
		return `"` + path + `"` // a file name cannot have a quote there
	}
	var b strings.Builder
	for _, c := range []byte(path) {
		plain := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c >= 0x80 ||
			strings.IndexByte("/._-+=:,@%", c) >= 0
		if !plain {
			b.WriteByte('\\')
		}
		b.WriteByte(c)
	}
	return b.String()
}

// quotePath returns path as an argument of an ssh_config option that expands tokens.
func quotePath(path string) (string, error) {
	path = filepath.ToSlash(path)
	if hasControl(path) || strings.ContainsAny(path, `"\$`) {
		return "", unnameable(path)
	}
	return `"` + strings.ReplaceAll(path, "%", "%%") + `"`, nil
}

func unnameable(path string) error {
	return keyway.Errorf(keyway.BadConfig, "ssh_config cannot name a file at %q", path).
		Hint("choose directories with plain names: XDG_STATE_HOME, XDG_RUNTIME_DIR")
}

// CanName reports whether an ssh_config can name the file at a path, which must be
// absolute.
func CanName(path string) bool {
	_, err := quotePath(path)
	return err == nil && filepath.IsAbs(path)
}

func hasControl(s string) bool { return strings.ContainsFunc(s, unicode.IsControl) }
