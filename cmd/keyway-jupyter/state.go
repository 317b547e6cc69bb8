//go:build unix

package main

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"keyway/internal/keyway"
	"keyway/internal/unixsock"
)

// record is what clients need to know. It is in a file that only the owner reads.
type record struct {
	Socket string `json:"socket"`
	Token  string `json:"token"`
	Base   string `json:"base"`    // where the Jupyter server's paths begin
	Page   string `json:"page"`    // what to open in a browser, below Base
	Server string `json:"server"`  // lab, notebook, server or found
	Dir    string `json:"dir"`     // where the notebooks are
	PID    int    `json:"pid"`     // of serve
	Since  string `json:"version"` // of keyway-jupyter
}

// stateDir is where everything is kept, from one start to the next.
func stateDir() (string, error) {
	base := os.Getenv("XDG_STATE_HOME")
	if !filepath.IsAbs(base) {
		home, err := os.UserHomeDir()
		if err != nil {
			return "", err
		}
		base = filepath.Join(home, ".local", "state")
	}
	dir := filepath.Join(base, "keyway", "jupyter")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", err
	}
	return dir, os.Chmod(dir, 0o700)
}

func recordPath(dir string) string { return filepath.Join(dir, "where.json") }

// maxSocketPath is what clients of the socket can connect to (unix(7)).
const maxSocketPath = 107

// token is made once. The address that editors know a server by contains it.
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

// answering returns the record if somebody listens at its socket.
func answering(dir string) ([]byte, error) {
	data, err := os.ReadFile(recordPath(dir))
	if errors.Is(err, os.ErrNotExist) {
		return nil, errors.New("it does not run here")
	}
	if err != nil {
		return nil, err
	}
	var r record
	if err := json.Unmarshal(data, &r); err != nil {
		return nil, fmt.Errorf("%s: %w", recordPath(dir), err)
	}
	c, err := unixsock.Dial(r.Socket)
	if err != nil {
		return nil, fmt.Errorf("it does not run here: %w", err)
	}
	return data, c.Close()
}

// ask asks the program that runs, and prints its answer. A limit of 0 is none.
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
	_, err = io.Copy(out, io.LimitReader(resp.Body, 1<<20))
	return err
}
