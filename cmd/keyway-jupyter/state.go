//go:build unix

package main

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"keyway/internal/filelock"
	"keyway/internal/keyway"
	"keyway/internal/proctree"
	"keyway/internal/unixsock"
)

// record has the address of the running program for clients. Only its owner can read the file that
// contains it.
type record struct {
	Socket string `json:"socket"`
	Token  string `json:"token"`
	Base   string `json:"base"`    // path prefix of the Jupyter server
	Page   string `json:"page"`    // page to open in a browser, below Base
	Server string `json:"server"`  // lab, notebook, server or found
	Dir    string `json:"dir"`     // the directory of the notebooks
	PID    int    `json:"pid"`     // of serve
	Since  string `json:"version"` // of keyway-jupyter
}

// stateDir returns the directory of all state that is kept from one start to the next. It is in
// the workspace's Home, so that each workspace of a user has its own address; outside a
// workspace, it is in the user's home directory.
func stateDir() (string, error) {
	dir, err := userDir()
	if home := os.Getenv(keyway.EnvHome); filepath.IsAbs(home) {
		dir, err = filepath.Join(keyway.Home(home).Data(), "jupyter"), nil
	}
	if err != nil {
		return "", err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", err
	}
	return dir, os.Chmod(dir, 0o700)
}

// userDir returns the directory in which an earlier version kept the state of all workspaces of a
// user.
func userDir() (string, error) {
	base := os.Getenv("XDG_STATE_HOME")
	if !filepath.IsAbs(base) {
		home, err := os.UserHomeDir()
		if err != nil {
			return "", err
		}
		base = filepath.Join(home, ".local", "state")
	}
	return filepath.Join(base, "keyway", "jupyter"), nil
}

// inherit moves to dir the state that an earlier version has left in the user's home directory,
// unless that version still runs: an editor knows the token, and outputs may not be in a file
// yet. The first workspace gets all of it. A directory that cannot be read counts as empty.
func inherit(dir string) error {
	old, err := userDir()
	if err != nil || old == dir {
		return nil //nolint:nilerr // nothing else needs it
	}
	lock, err := os.OpenFile(filepath.Join(old, "lock"), os.O_RDWR, 0)
	if err != nil {
		return nil //nolint:nilerr // no earlier version has run as this user
	}
	defer lock.Close()
	if err := filelock.Try(lock, filelock.Exclusive); err != nil {
		return nil //nolint:nilerr // it runs, and will leave it
	}
	for _, name := range []string{"kernels", "server.json", "token"} { // the token last: once it is moved, this is done
		err := move(filepath.Join(old, name), filepath.Join(dir, name), os.Rename)
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	return nil
}

// move renames the file or directory from to to, unless to exists. On another file system
// (EXDEV), it copies, and the copy gets the name when it is complete. A move that was killed
// continues at the next call: a note beside to has the name under which from waits, which no
// other workspace inherits.
func move(from, to string, rename func(from, to string) error) error {
	part, note := to+".part", to+".from"
	name, err := os.ReadFile(note)
	taken := string(name)
	if errors.Is(err, os.ErrNotExist) {
		if _, err := os.Lstat(to); err == nil {
			return nil
		}
		if err := rename(from, to); !errors.Is(err, syscall.EXDEV) {
			return err
		}
		taken = from + ".to-" + rand.Text()
		err = keyway.WriteFile(note, []byte(taken), 0o600)
	}
	if err != nil {
		return err
	}
	if _, err := os.Lstat(to); errors.Is(err, os.ErrNotExist) {
		if _, err := os.Lstat(taken); errors.Is(err, os.ErrNotExist) {
			if err := os.Rename(from, taken); errors.Is(err, os.ErrNotExist) {
				return os.Remove(note) // another workspace has it
			} else if err != nil {
				return err
			}
		}
		err := os.RemoveAll(part)
		if err == nil {
			err = copyTree(taken, part)
		}
		if err == nil {
			err = os.Rename(part, to)
		}
		if err != nil {
			return errors.Join(err, os.RemoveAll(part))
		}
	}
	return errors.Join(os.RemoveAll(taken), os.Remove(note))
}

// copyTree copies a file, or a directory with its content, including the modes.
func copyTree(from, to string) error {
	return filepath.WalkDir(from, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		copied := to + strings.TrimPrefix(path, from)
		if d.IsDir() {
			return os.Mkdir(copied, info.Mode().Perm())
		}
		in, err := os.Open(path)
		if err != nil {
			return err
		}
		defer in.Close()
		out, err := os.OpenFile(copied, os.O_CREATE|os.O_EXCL|os.O_WRONLY, info.Mode().Perm())
		if err != nil {
			return err
		}
		_, err = io.Copy(out, in)
		return errors.Join(err, out.Close())
	})
}

// elsewhere reports whether a process belongs to another workspace of this user.
func elsewhere(pid int) bool {
	env, _ := proctree.Environment(pid) // empty if the process belongs to no workspace
	home, here := "", os.Getenv(keyway.EnvHome)
	for _, kv := range env {
		if value, ok := strings.CutPrefix(kv, keyway.EnvHome+"="); ok {
			home = value
		}
	}
	return home != "" && here != "" && home != here
}

func recordPath(dir string) string { return filepath.Join(dir, "where.json") }

// maxSocketPath is the longest path of a socket that clients can connect to, in bytes (unix(7)).
const maxSocketPath = 107

// token returns the token, which is made once: the address under which editors know a server
// contains it.
func token(dir string) (string, error) {
	path := filepath.Join(dir, "token")
	data, err := os.ReadFile(path)
	if t := strings.TrimSpace(string(data)); err == nil && len(t) >= 26 {
		return t, os.Chmod(path, 0o600)
	}
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return "", err
	}
	t := rand.Text() + rand.Text()
	return t, keyway.WriteFile(path, []byte(t+"\n"), 0o600)
}

// where prints the record once the socket answers.
func where(out io.Writer, wait time.Duration) error {
	dir, err := stateDir()
	if err != nil {
		return err
	}
	for end := time.Now().Add(wait); ; time.Sleep(100 * time.Millisecond) {
		data, err := answering(dir)
		if err == nil {
			_, err = out.Write(data)
			return err
		}
		if time.Now().After(end) {
			return err
		}
	}
}

// answering returns the record, if a process listens at its socket.
func answering(dir string) ([]byte, error) {
	data, r, err := readRecord(dir)
	if errors.Is(err, os.ErrNotExist) { // an earlier version may run here
		if dir, err = userDir(); err == nil {
			data, r, err = readRecord(dir)
		}
		if err == nil && elsewhere(r.PID) {
			err = os.ErrNotExist
		}
	}
	if errors.Is(err, os.ErrNotExist) {
		return nil, errors.New("it does not run here")
	}
	if err != nil {
		return nil, err
	}
	c, err := unixsock.Dial(r.Socket)
	if err != nil {
		return nil, fmt.Errorf("it does not run here: %w", err)
	}
	return data, c.Close()
}

func readRecord(dir string) (data []byte, r record, err error) {
	if data, err = os.ReadFile(recordPath(dir)); err != nil {
		return nil, r, err
	}
	if err = json.Unmarshal(data, &r); err != nil {
		err = fmt.Errorf("%s: %w", recordPath(dir), err)
	}
	return data, r, err
}

// ask sends a request to the running program and prints its answer. A limit of 0 means none.
func ask(out io.Writer, what string, limit time.Duration) error {
	dir, err := stateDir()
	if err != nil {
		return err
	}
	data, err := answering(dir)
	if err != nil {
		return err
	}
	var r record
	if err := json.Unmarshal(data, &r); err != nil {
		return err
	}
	client := http.Client{Timeout: limit, Transport: &http.Transport{
		DialContext: func(context.Context, string, string) (net.Conn, error) { return unixsock.Dial(r.Socket) },
	}}
	req, err := http.NewRequest(http.MethodGet, "http://localhost"+r.Base+what, nil)
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "token "+r.Token)
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("it answers with %s", resp.Status)
	}
	answer, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	if err == nil && len(answer) > maxAnswer {
		err = fmt.Errorf("it answers with more than %d bytes", maxAnswer)
	}
	if err == nil {
		_, err = out.Write(answer)
	}
	return err
}

// maxAnswer bounds an answer of the running program in bytes.
const maxAnswer = 1 << 20
