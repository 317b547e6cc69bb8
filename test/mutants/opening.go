package main

// opening are the claims about keyway open.
var opening = []mutant{
	{
		claim: "a workspace adds no more to a URL than a plain path",
		file:  "internal/open/url.go", old: `s.Path != "" && !goodPath.MatchString(s.Path)`, new: `s.Path != "" && goodPath == nil`,
		pkg: "internal/open", run: "TestURL",
	},
	{
		claim: "only a port that the workspace listens on is led to",
		file:  "internal/open/open.go", old: `if found && !slices.ContainsFunc(`, new: `if found && ports == nil && !slices.ContainsFunc(`,
		pkg: "internal/open", run: "TestOnlyListedPorts",
	},
	{
		claim: "a port is opened when ssh has bound it",
		file:  "internal/link/forwardssh.go", old: `strings.HasPrefix(next, "debug1: channel ") && strings.Contains(next, "[port listener]")`, new: `next != ""`,
		pkg: "internal/link", run: "TestListens",
	},
	{
		claim: "no forward outlives its last user",
		file:  "internal/link/forward.go", old: `last := f.users == 0`, new: `last := f.users < 0`,
		pkg: "internal/link", run: "TestForwardEndsWithItsLastUser",
	},
	{
		claim: "what a workspace says of its ports is bounded and cleaned",
		file:  "internal/laptop/ports.go", old: `p.Address, p.Program = plain.Line(p.Address), plain.Line(p.Program)`, new: `_ = plain.Line`,
		pkg: "internal/laptop", run: "TestReadPorts",
	},
	{
		claim: "a workspace adds no more to a URL than a token",
		file:  "internal/open/url.go", old: `len(s.Token) > maxToken || !goodToken.MatchString(s.Token)`, new: `len(s.Token) > maxToken && goodToken == nil`,
		pkg: "internal/open", run: "^TestURL$",
	},
	{
		claim: "the folder that an editor opens is an absolute path",
		file:  "internal/open/url.go", old: `!path.IsAbs(folder) || len(folder) > maxPath ||`, new: `len(folder) > maxPath ||`,
		pkg: "internal/open", run: "^TestEditorURL$",
	},
	{
		claim: "a workspace says of a notebook no socket that ssh reads otherwise",
		file:  "internal/laptop/jupyter.go", old: `!plainPath.MatchString(at.Socket) || len(at.Socket) > 107 ||`, new: `len(at.Socket) > 107 ||`,
		pkg: "internal/laptop", run: "^TestReadJupyterAt$",
	},
	{
		claim: "a notebook without a token is not opened",
		file:  "internal/laptop/jupyter.go", old: `at.Token == "" || `, new: ``,
		pkg: "internal/laptop", run: "^TestReadJupyterAt$",
	},
	{
		claim: "the path of a program in a workspace is plain",
		file:  "internal/laptop/jupyter.go", old: `!plainPath.MatchString(rest) || path.Clean(rest) != rest`, new: `path.Clean(rest) != rest`,
		pkg: "internal/laptop", run: "^TestProgramPath$",
	},
}
