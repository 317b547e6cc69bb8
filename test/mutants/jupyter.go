package main

// notebooks are the claims about keyway-jupyter.
var notebooks = []mutant{
	{
		claim: "no route of a notebook without the token",
		file:  "internal/jupyter/front/guard.go", old: `if how == noProof {`, new: `if how == noProof && r.Method != "GET" {`,
		pkg: "internal/jupyter/front", run: "TestGuard",
	},
	{
		claim: "an empty token is no token",
		file:  "internal/jupyter/front/guard.go", old: `== 1 && want != ""`, new: `== 1`,
		pkg: "internal/jupyter/front", run: "TestNoTokenNoFront",
	},
	{
		claim: "a notebook is served under names of the loopback only",
		file:  "internal/jupyter/front/guard.go", old: `if !localHost(r.Host) {`, new: `if !localHost(r.Host) && r.Method == "" {`,
		pkg: "internal/jupyter/front", run: "TestGuard",
	},
	{
		claim: "no page of another origin reaches a notebook",
		file:  "internal/jupyter/front/guard.go", old: `!strings.EqualFold(u.Host, r.Host) ||`, new: ``,
		pkg: "internal/jupyter/front", run: "TestGuard",
	},
	{
		claim: "a cookie changes nothing without an origin",
		file:  "internal/jupyter/front/guard.go", old: `return how != byCookie || !unsafe || origin != ""`, new: `return how != byCookie || !unsafe || true`,
		pkg: "internal/jupyter/front", run: "TestGuard",
	},
	{
		claim: "the token of a notebook does not reach its server",
		file:  "internal/jupyter/front/front.go", old: `q.Del("token")`, new: `_ = q`,
		pkg: "internal/jupyter/front", run: "TestBrowser",
	},
	{
		claim: "the login of a Jupyter server reaches no browser",
		file:  "internal/jupyter/front/front.go", old: `strings.HasPrefix(c, "_xsrf=")`, new: `c != ""`,
		pkg: "internal/jupyter/front", run: "TestBrowser",
	},
	{
		claim: "a file that has changed meanwhile is not written",
		file:  "internal/jupyter/front/contents.go", old: `if now.Modified != doc.Modified {`, new: `if now.Modified != doc.Modified && f == nil {`,
		pkg: "internal/jupyter/front", run: "TestFileIsWritten",
	},
	{
		claim: "a kernel's record is bounded",
		file:  "internal/jupyter/journal/journal.go", old: `for j.total > j.limits.Kernel {`, new: `for j.total > 1<<40 {`,
		pkg: "internal/jupyter/journal", run: "TestMiddleIsLeftOut",
	},
	{
		claim: "the token of a notebook is its user's alone",
		file:  "cmd/keyway-jupyter/state.go", old: `[]byte(t+"\n"), 0o600)`, new: `[]byte(t+"\n"), 0o644)`,
		pkg: "cmd/keyway-jupyter", run: "TestFilesAreClosed",
	},
	{
		claim: "the socket of a notebook is its user's alone",
		file:  "cmd/keyway-jupyter/serve.go", old: `return unixsock.Listen(path, 0o600)`, new: `return unixsock.Listen(path, 0o666)`,
		pkg: "cmd/keyway-jupyter", run: "TestFilesAreClosed",
	},
	{
		claim: "a program in a workspace counts with its hash only",
		file:  "internal/laptop/jupyter.go", old: `[ -x "$f" ] && has "$f" "$h"`, new: `[ -x "$f" ]`,
		pkg: "internal/laptop", run: "TestJupyterProgram",
	},
	{
		claim: "a workspace names no socket that ssh reads otherwise",
		file:  "internal/link/forward.go", old: `len(req.Socket) > maxSocket || !goodSocket.MatchString(req.Socket)`, new: `goodSocket == nil`,
		pkg: "internal/link", run: "TestForwardThatCannotBe",
	},
	{
		claim: "a message of a kernel has as many parts as it has room for",
		file:  "internal/jupyter/wire/wire.go", old: `if n < 6 || n > maxBuffers+6 || uint64(len(data)) < 8*(n+1) {`, new: `if n < 6 || n > maxBuffers+6 {`,
		pkg: "internal/jupyter/wire", run: "^TestRefused$",
	},
	{
		claim: "a message of a kernel is bounded",
		file:  "internal/jupyter/wire/wire.go", old: `if len(id) > maxID {`, new: `if false {`,
		pkg: "internal/jupyter/wire", run: "^TestRefused$",
	},
	{
		claim: "what a killed keyway-jupyter has written down is not written twice",
		file:  "internal/jupyter/feed/held.go", old: `err == nil && got == m {`, new: `err == nil && got == m && rest < 0 {`,
		pkg: "internal/jupyter/hold", run: "TestKilledAnywhere/unix0",
	},
	{
		claim: "what a killed keyway-jupyter was reading is not lost",
		file:  "internal/jupyter/feed/feed.go", old: `if f.direct > 0 && f.line != nil {`, new: `if f.direct > 0 && f.line != nil && len(p) == 0 {`,
		pkg: "internal/jupyter/hold", run: "TestKilledAnywhere/unix",
	},
	{
		claim: "a write to a kernel's record that was not whole does not count",
		file:  "internal/jupyter/journal/journal.go", old: `err = uncommitted(e.path(segment))`, new: `err = nil`,
		pkg: "internal/jupyter/journal", run: "TestTornRecord",
	},
}
