package open

import (
	"net/url"
	"path"
	"strconv"
	"strings"

	"keyway/internal/keyway"
	"keyway/internal/lazyregexp"
)

const (
	// maxPath and maxToken bound the bytes that a workspace adds to a URL.
	maxPath  = 1024
	maxToken = 512
)

var (
	goodPath = lazyregexp.New(`^/[A-Za-z0-9/._~@+=,:-]*$`)
	// A token may be of the user's choice.
	goodToken = lazyregexp.New(`^[!-~]*$`)
)

// URL leads to a server through a port of this machine. Of the workspace's answer, only a plain
// path and token are used.
func (s Server) URL(local int) (string, error) {
	if len(s.Path) > maxPath || s.Path != "" && !goodPath.MatchString(s.Path) {
		return "", keyway.Errorf(keyway.Untrusted, "the workspace names a path that a server of this kind does not have: %.80q", s.Path)
	}
	if len(s.Token) > maxToken || !goodToken.MatchString(s.Token) {
		return "", keyway.Errorf(keyway.Untrusted, "the workspace names a token that a server of this kind does not have: %.20q…", s.Token)
	}
	u := url.URL{Scheme: "http", Host: "127.0.0.1:" + strconv.Itoa(local), Path: path.Clean("/" + s.Path)}
	if s.TLS {
		u.Scheme = "https"
	}
	if strings.HasSuffix(s.Path, "/") && u.Path != "/" {
		u.Path += "/"
	}
	if s.Token != "" {
		u.RawQuery = url.Values{"token": {s.Token}}.Encode()
	}
	return u.String(), nil
}

// Editor is an editor on this machine that works in a workspace over ssh.
type Editor struct {
	Name   string // of the program, and as people say it
	Short  string
	Scheme string // of URLs that it opens
}

// Editors are those that there are.
var Editors = []Editor{
	{Name: "code", Short: "Visual Studio Code (Remote-SSH)", Scheme: "vscode"},
	{Name: "cursor", Short: "Cursor", Scheme: "cursor"},
}

// Remote returns the name of an ssh host for VS Code and its derivatives.
func Remote(workspace keyway.Name) string { return "ssh-remote+" + string(workspace) }

// URL opens a folder of a workspace in the editor. The folder is absolute.
func (e Editor) URL(workspace keyway.Name, folder string) (string, error) {
	if !path.IsAbs(folder) || len(folder) > maxPath || strings.ContainsFunc(folder, func(r rune) bool { return r < ' ' || r == 0x7f }) {
		return "", keyway.Errorf(keyway.Usage, "a folder of a workspace is an absolute path, not %.80q", folder)
	}
	u := url.URL{Scheme: e.Scheme, Host: "vscode-remote", Path: "/" + Remote(workspace) + path.Clean(folder)}
	return u.String(), nil
}
