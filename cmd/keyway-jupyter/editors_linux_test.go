package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"

	"keyway/internal/unixsock"
)

// forward returns the base URL of a service on a port of the loopback, as keyway open makes it.
func (s service) forward(t *testing.T) (base string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() { // ends with the listener
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go s.carry(c)
		}
	}()
	return fmt.Sprintf("http://%s/", l.Addr())
}

func (s service) carry(c net.Conn) {
	defer c.Close()
	to, err := unixsock.Dial(s.socket)
	if err != nil {
		return
	}
	defer to.Close()
	go func() { _, _ = io.Copy(to, c); _ = to.Close() }()
	_, _ = io.Copy(c, to)
}

// modules installs the npm packages that package-lock.json pins.
func modules(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for _, name := range []string{"package.json", "package-lock.json"} {
		data, err := os.ReadFile(filepath.Join("testdata/services", name))
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, name), data, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.Command("npm", "ci", "--ignore-scripts", "--omit=optional", "--no-audit", "--no-fund", "--prefer-offline", "--fetch-retries=5")
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("npm ci: %v\n%s", err, out)
	}
	return filepath.Join(dir, "node_modules")
}

// TestServices checks that @jupyterlab/services gets all output if it leaves a cell and comes back
// as VS Code does.
func TestServices(t *testing.T) {
	packages := modules(t)
	w := startWorld(t)
	type seen struct {
		Lines, Pictures             int
		Ordered, End, Result, Ended bool
		Bar                         string
	}
	all := seen{Lines: 60, Pictures: 1, Ordered: true, End: true, Result: true, Ended: true, Bar: "'bar 9'"}
	results := map[string]seen{}
	var mu sync.Mutex
	var drivers sync.WaitGroup
	for mode, s := range map[string]service{"end": w.front, "middle": w.front, "stock": w.stock} {
		drivers.Go(func() {
			var out, errs bytes.Buffer
			cmd := exec.Command("node", "testdata/services/drive.js", packages, s.forward(t), s.token, mode)
			cmd.Stdout, cmd.Stderr = &out, &errs
			err := cmd.Run()
			var got seen
			if err == nil {
				err = json.Unmarshal(out.Bytes(), &got)
			}
			if err != nil {
				t.Errorf("%s: %v\n%s%s", mode, err, &out, &errs)
			}
			mu.Lock()
			defer mu.Unlock()
			results[mode] = got
		})
	}
	drivers.Wait()
	for _, mode := range []string{"end", "middle"} {
		if results[mode] != all {
			t.Errorf("back in the %s: %+v", mode, results[mode])
		}
		w.written(t, mode+".ipynb", "END")
	}
	if got := results["stock"]; got.Lines == 60 || got.Ended {
		t.Errorf("the Jupyter server alone loses nothing: %+v", got)
	}
}
