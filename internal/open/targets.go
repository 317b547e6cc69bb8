package open

import (
	"bytes"
	"context"
	"encoding/json"
	"slices"

	"keyway/internal/keyway"
)

var jupyter = Target{
	Name: "jupyter", Short: "the first installed of JupyterLab, Notebook, Server", Session: "jupyter",
	Programs: []string{"jupyter-lab", "jupyter-notebook", "jupyter-server"},
	Command: func(program string, args []string) []string {
		return append([]string{program, "--no-browser", "--ip=127.0.0.1", "--allow-root"}, args...)
	},
	Advice:  "install one there, for example: pip install jupyterlab",
	Find:    findJupyter,
	Forgets: "closing the page ends no kernel, but Jupyter drops what a cell prints while no page shows it",
}

// jupyterFiles prints the files in which each Jupyter server says how it is reached
// (jupyter_core.paths).
const jupyterFiles = `cd "${JUPYTER_RUNTIME_DIR:-${JUPYTER_DATA_DIR:-${XDG_DATA_HOME:-$HOME/.local/share}/jupyter}/runtime}" 2>/dev/null || exit 0
for f in jpserver-*.json nbserver-*.json; do test -f "$f" && cat "$f"; done; exit 0`

// jupyterFile is one of them. It stays when its server was killed.
type jupyterFile struct {
	Port  int    `json:"port"`
	PID   int    `json:"pid"`
	Path  string `json:"base_url"`
	Token string `json:"token"`
	TLS   bool   `json:"secure"`
}

// findJupyter prefers the server of our own session to others.
func findJupyter(ctx context.Context, w Inside, ports []keyway.Port) (Server, bool, error) {
	if len(ports) == 0 {
		return Server{}, false, nil
	}
	text, err := w.Output(ctx, "sh", "-c", jupyterFiles)
	if err != nil {
		return Server{}, false, err
	}
	var found []Server
	for files := json.NewDecoder(bytes.NewReader(text)); ; {
		var f jupyterFile
		if err := files.Decode(&f); err != nil {
			break // the end, or nothing that Jupyter has written
		}
		i := slices.IndexFunc(ports, func(p keyway.Port) bool { return p.Port == f.Port && p.PID == f.PID })
		if i < 0 {
			continue
		}
		s := Server{Port: f.Port, TLS: f.TLS, Path: f.Path, Token: f.Token, Session: keyway.Name(ports[i].Session)}
		if s.Session == "jupyter" {
			return s, true, nil
		}
		found = append(found, s)
	}
	if len(found) == 0 {
		return Server{}, false, nil
	}
	return found[0], true, nil
}

var tensorboard = Target{
	Name: "tensorboard", Short: "TensorBoard; where its logs are: -- --logdir DIR", Session: "tensorboard",
	Programs: []string{"tensorboard"},
	Command: func(program string, args []string) []string {
		return append([]string{program, "--host", "127.0.0.1", "--logdir", "."}, args...)
	},
	Advice: "install it there: pip install tensorboard",
	Find: func(_ context.Context, _ Inside, ports []keyway.Port) (Server, bool, error) {
		p, found := inSession(ports, "tensorboard", "tensorboard")
		return Server{Port: p.Port, Session: keyway.Name(p.Session)}, found, nil
	},
}
