package open

import (
	"context"
	"errors"
	"net/url"
	"slices"
	"strings"
	"testing"

	"keyway/internal/keyway"
)

// played is a workspace whose answers a test chooses.
type played struct {
	ports   []keyway.Port
	files   string
	runs    bool
	started [][]string
	// begins has the ports on which programs listen when the session has been started.
	begins []keyway.Port
}

func (p *played) Ports(context.Context) ([]keyway.Port, error) { return slices.Clone(p.ports), nil }
func (p *played) Output(_ context.Context, argv ...string) ([]byte, error) {
	if strings.HasPrefix(argv[2], "for p") {
		return []byte(argv[4] + "\n"), nil
	}
	return []byte(p.files), nil
}
func (p *played) Runs(context.Context, keyway.Name) (bool, error) { return p.runs, nil }
func (p *played) Start(_ context.Context, session keyway.Name, argv ...string) error {
	p.started = append(p.started, append([]string{string(session)}, argv...))
	p.ports, p.runs = append(p.ports, p.begins...), p.begins != nil
	return nil
}

func local(port, pid int, session string) keyway.Port {
	return keyway.Port{Port: port, Address: "127.0.0.1", PID: pid, Session: session}
}

const fileOf8888 = `{"base_url": "/user/ann/", "hostname": "localhost", "password": false, "pid": 11,
  "port": 8888, "root_dir": "/work", "secure": false, "sock": "", "token": "abc", "url": "http://evil.example/", "version": "2.0"}
`

func TestReady(t *testing.T) {
	stale := `{"port": 8888, "pid": 9, "token": "old", "base_url": "/"}` + "\n"
	for _, test := range []struct {
		name    string
		w       played
		target  Target
		want    Server
		started int
	}{
		{"a Jupyter that runs is used", played{ports: []keyway.Port{local(8888, 11, "")}, files: stale + fileOf8888}, jupyter,
			Server{Port: 8888, Path: "/user/ann/", Token: "abc"}, 0},
		{"ours comes first", played{ports: []keyway.Port{local(8888, 11, ""), local(8889, 12, "jupyter")},
			files: fileOf8888 + `{"port": 8889, "pid": 12, "token": "t", "base_url": "/", "secure": true}`}, jupyter,
			Server{Port: 8889, Path: "/", Token: "t", TLS: true, Session: "jupyter"}, 0},
		{"a file of one that was killed counts for nothing", played{ports: []keyway.Port{local(8888, 77, "other")}, files: stale,
			begins: []keyway.Port{local(6006, 5, "tensorboard")}}, tensorboard, Server{Port: 6006, Session: "tensorboard"}, 1},
		{"one that starts is waited for", played{runs: true, ports: []keyway.Port{local(8888, 11, "jupyter")}, files: fileOf8888}, jupyter,
			Server{Port: 8888, Path: "/user/ann/", Token: "abc", Session: "jupyter"}, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, err := test.target.Ready(t.Context(), &test.w, nil, func() {})
			if err != nil || got != test.want || len(test.w.started) != test.started {
				t.Errorf("%+v, %v, started %q; want %+v, %d started", got, err, test.w.started, test.want, test.started)
			}
		})
	}
}

// TestReadyTellsOfAnEnd checks that a server that ends at once, or whose port this laptop cannot
// reach, is reported as an error at once.
func TestReadyTellsOfAnEnd(t *testing.T) {
	w := &played{ports: []keyway.Port{{Port: 8888, Address: "10.0.0.5", PID: 11}}, files: fileOf8888}
	_, err := jupyter.Ready(t.Context(), w, []string{"--port=8890"}, func() {})
	if !keyway.Is(err, keyway.NotRunning) {
		t.Errorf("%v, want that it has ended", err)
	}
	if len(w.started) != 1 || w.started[0][0] != "jupyter" || w.started[0][1] != "jupyter-lab" || w.started[0][len(w.started[0])-1] != "--port=8890" {
		t.Errorf("started %q", w.started)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	waits := &played{runs: true}
	if _, err := jupyter.Ready(ctx, waits, nil, func() {}); !errors.Is(err, context.Canceled) {
		t.Errorf("%v, want that nobody waits any more", err)
	}
}

// TestOnlyListedPorts checks that only a port on which the workspace listens is accepted, whatever
// its programs print.
func TestOnlyListedPorts(t *testing.T) {
	liar := Target{Name: "liar", Session: "liar", Programs: []string{"x"}, Command: func(string, []string) []string { return []string{"x"} },
		Find: func(context.Context, Inside, []keyway.Port) (Server, bool, error) { return Server{Port: 22}, true, nil }}
	if s, err := liar.Ready(t.Context(), &played{ports: []keyway.Port{local(8888, 1, "")}}, nil, func() {}); err == nil {
		t.Errorf("led to %+v", s)
	}
}

func TestURL(t *testing.T) {
	for _, test := range []struct {
		s    Server
		want string // "": refused
	}{
		{Server{}, "http://127.0.0.1:8123/"},
		{Server{Path: "/user/ann/", Token: "a+b&c=d#e"}, "http://127.0.0.1:8123/user/ann/?token=a%2Bb%26c%3Dd%23e"},
		{Server{Path: "/../../etc", TLS: true}, "https://127.0.0.1:8123/etc"},
		{Server{Path: "//evil.example/x"}, "http://127.0.0.1:8123/evil.example/x"},
		{Server{Path: "http://evil.example/"}, ""},
		{Server{Path: "@evil.example/"}, ""},
		{Server{Path: "/\\evil.example"}, ""},
		{Server{Path: "/a?b"}, ""},
		{Server{Path: "/a\nb"}, ""},
		{Server{Token: "a b"}, ""},
		{Server{Token: "a\x1b[2J"}, ""},
		{Server{Token: strings.Repeat("a", maxToken+1)}, ""},
		{Server{Path: "/" + strings.Repeat("a", maxPath)}, ""},
	} {
		got, err := test.s.URL(8123)
		if got != test.want || (err != nil) != (test.want == "") {
			t.Errorf("%+v: %q, %v; want %q", test.s, got, err, test.want)
		}
		if err != nil && !keyway.Is(err, keyway.Untrusted) {
			t.Errorf("%+v: %v is not of the workspace", test.s, err)
		}
	}
}

func TestEditorURL(t *testing.T) {
	code := Editors[0]
	if got, err := code.URL("train", "/data/my project/../x?y#z"); got != "vscode://vscode-remote/ssh-remote+train/data/x%3Fy%23z" || err != nil {
		t.Errorf("%q, %v", got, err)
	}
	for _, folder := range []string{"", "data", "~/x", "/a\nb"} {
		if got, err := code.URL("train", folder); err == nil {
			t.Errorf("%q is opened as %q", folder, got)
		}
	}
}

func TestBrowser(t *testing.T) {
	display := map[string]string{"DISPLAY": ":0"}
	for _, test := range []struct {
		goos string
		env  map[string]string
		want string
	}{
		{"darwin", nil, "open U"}, {"windows", nil, "rundll32 url.dll,FileProtocolHandler U"},
		{"linux", display, "xdg-open U"}, {"linux", nil, ""}, {"linux", map[string]string{"BROWSER": "w3m"}, "xdg-open U"},
	} {
		got, err := browser(test.goos, func(k string) string { return test.env[k] }, "U")
		if strings.Join(got, " ") != test.want || (err != nil) != (test.want == "") {
			t.Errorf("%s with %v: %q, %v; want %q", test.goos, test.env, got, err, test.want)
		}
	}
}

// FuzzURL checks that no path or token leads anywhere but to this machine's port.
func FuzzURL(f *testing.F) {
	f.Add("/user/ann/", "abc")
	f.Add("//evil.example", "?#&")
	f.Add("/%2e%2e/@:80", "\\")
	f.Fuzz(func(t *testing.T, path, token string) {
		text, err := Server{Path: path, Token: token}.URL(8123)
		if err != nil {
			return
		}
		u, err := url.Parse(text)
		if err != nil || u.Scheme != "http" || u.Host != "127.0.0.1:8123" || u.User != nil || u.Fragment != "" || u.Query().Get("token") != token {
			t.Errorf("%q and %q make %q", path, token, text)
		}
	})
}
