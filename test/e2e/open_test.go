//go:build linux

package e2e

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"keyway/internal/keyway"
)

// opened is a keyway open that runs.
type opened struct {
	cmd  *exec.Cmd
	news strings.Builder // whole since close
	URL  string          `json:"url"`
	Port int             `json:"port"`
	// Local is the port on the laptop.
	Local int `json:"local"`
	// Session is that of the server.
	Session string `json:"session"`
}

// open starts keyway open and returns when it has printed where the server is.
func (w *world) open(t *testing.T, args ...string) *opened {
	t.Helper()
	o := &opened{cmd: w.command(append([]string{"keyway", "open", "--json"}, args...)...)}
	out, err := o.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	o.cmd.Stderr = &o.news
	if err := o.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { o.close(t) })
	giveUp := time.AfterFunc(patience, func() { _ = o.cmd.Process.Kill() })
	defer giveUp.Stop()
	var text strings.Builder
	for r := bufio.NewReader(io.TeeReader(out, &text)); json.NewDecoder(strings.NewReader(text.String())).Decode(o) != nil; {
		if _, err := r.ReadByte(); err != nil {
			_ = o.cmd.Wait()
			t.Fatalf("keyway open %v: %v\n%s%s", args, err, text.String(), o.news.String())
		}
	}
	return o
}

// close sends Ctrl-C, after which the command must exit with 0.
func (o *opened) close(t *testing.T) {
	t.Helper()
	if o.cmd.ProcessState != nil {
		return
	}
	_ = o.cmd.Process.Signal(os.Interrupt)
	if err := o.cmd.Wait(); err != nil {
		t.Errorf("keyway open ended with %v\n%s", err, o.news.String())
	}
}

// get requests a URL on the laptop.
func (w *world) get(url string) result { return w.do("curl", "-sS", "-m", "60", "-L", "-b", "-", url) }

// listensOnLaptop reports whether a program listens on a port of the laptop.
func (w *world) listensOnLaptop(t *testing.T, port int) bool {
	t.Helper()
	table, err := w.Laptop.Output("cat", "/proc/net/tcp")
	if err != nil {
		t.Fatal(err)
	}
	return strings.Contains(table, fmt.Sprintf("0100007F:%04X 00000000:0000 0A", port))
}

// TestOpenAPort opens a port of a workspace twice, over a bastion that is lost in between, and
// checks that the port closes with its last user.
func TestOpenAPort(t *testing.T) {
	w := shared
	w.must(t, "keyway", "run", train, "-d", "--as", "web", "--", "python3", "-m", "http.server", "8123", "--bind", "127.0.0.1")
	t.Cleanup(func() { w.must(t, "keyway", "kill", "--grace", "0", train+"/web") })
	w.portsOfTrain(t)
	first := w.open(t, train, "8123")
	equal(t, "URL", first.URL, "http://127.0.0.1:8123/")
	holds(t, "the page", w.get(first.URL).Stdout, "Directory listing")
	second := w.open(t, train, "8123")
	equal(t, "the second one's URL", second.URL, first.URL)
	first.close(t)
	if w.Bastion.KillConnections() == 0 {
		t.Error("the bastion had no connection")
	}
	holds(t, "the page after the bastion was lost", w.get(second.URL).Stdout, "Directory listing")
	second.close(t)
	if w.listensOnLaptop(t, 8123) {
		t.Error("the port is left behind")
	}
	if status := w.must(t, "keyway", "status", "--json"); strings.Contains(status, `"forwards"`) {
		t.Errorf("a forward is left: %s", status)
	}
}

// portsOfTrain waits until the server of the job web is among the workspace's ports.
func (w *world) portsOfTrain(t *testing.T) {
	t.Helper()
	for end := time.Now().Add(time.Minute); ; time.Sleep(100 * time.Millisecond) {
		var ports []keyway.Port
		text := w.must(t, "keyway", "ports", train, "--json")
		if err := json.Unmarshal([]byte(text), &ports); err != nil {
			t.Fatal(err, text)
		}
		for _, p := range ports {
			if p.Port == 8123 && p.Address == "127.0.0.1" && p.Session == "web" && strings.HasPrefix(p.Program, "python3") && p.PID > 1 {
				holds(t, "keyway ports", w.must(t, "keyway", "ports", train), "8123")
				holds(t, "keyway ports inside", w.must(t, "ssh", train, "keyway", "ports"), "8123 127.0.0.1 python3")
				return
			}
		}
		if time.Now().After(end) {
			t.Fatalf("port 8123 is not listed: %s", text)
		}
	}
}

// TestOpenOfATakenPort checks that a port of another program is not mistaken for the workspace's,
// and that the substitute stays the same.
func TestOpenOfATakenPort(t *testing.T) {
	w := shared
	other := w.command("python3", "-m", "http.server", "8124", "--bind", "127.0.0.1")
	if err := other.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = other.Process.Kill(); _ = other.Wait() })
	for end := time.Now().Add(time.Minute); !w.listensOnLaptop(t, 8124); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("the other program does not listen")
		}
	}
	first := w.open(t, train, "8124")
	first.close(t)
	second := w.open(t, train, "8124")
	if first.Local == 8124 || second.Local != first.Local {
		t.Errorf("the local ports are %d and then %d", first.Local, second.Local)
	}
	second.close(t)
	holds(t, "news", second.news.String(), "nothing listens on port 8124")
	r := w.do("keyway", "open", train, "8124", "--local-port", "8124")
	if r.Code == 0 || !strings.Contains(r.Stderr, "another program has port 8124") {
		t.Error(r)
	}
}

// TestOpenJupyter starts a Jupyter server as a job, kills the bastion's connections, and ends the
// command that opened the server. It checks that the next command finds the same server.
func TestOpenJupyter(t *testing.T) {
	w := shared
	w.up(t, "lab", "--engine", "host")
	first := w.open(t, "lab", "jupyter", "--", "--port=8899", "--ServerApp.root_dir=/tmp", "--NotebookApp.notebook_dir=/tmp")
	if first.Session != "jupyter" || !strings.Contains(first.URL, "token=") {
		t.Fatalf("%+v\n%s", first, first.news.String())
	}
	holds(t, "the kernels", w.get(kernels(first.URL)).Stdout, "[]")
	if w.Bastion.KillConnections() == 0 {
		t.Error("the bastion had no connection")
	}
	holds(t, "the kernels after the bastion was lost", w.get(kernels(first.URL)).Stdout, "[]")
	first.close(t)
	if w.listensOnLaptop(t, first.Local) {
		t.Error("the port is left behind")
	}
	second := w.open(t, "lab", "jupyter")
	if second.URL != first.URL {
		t.Errorf("afterwards it is another server: %s, not %s", second.URL, first.URL)
	}
	holds(t, "the kernels of a server that went on", w.get(kernels(second.URL)).Stdout, "[]")
	holds(t, "without its token", w.get(kernels(strings.Split(second.URL, "?")[0]+"?")).Stdout, "Forbidden")
}

// kernels returns the URL at which a Jupyter server lists its kernels, from the URL of its first
// page.
func kernels(url string) string { return strings.Replace(url, "/?", "/api/kernels?", 1) }
