package main

// templates are what somebody else's template, and what a template holds, can do.
var templates = []mutant{
	{
		claim: "a repository's template reads no file outside its directory",
		file:  "internal/template/find.go",
		old:   "confined: t.Source != Mine",
		new:   "confined: false",
		pkg:   "internal/template", run: "TestARepositoryIsConfined",
	},
	{
		claim: "a template file that all may write to is refused",
		file:  "internal/template/find.go",
		old:   "if !trusted(st) {",
		new:   "if false {",
		pkg:   "internal/template", run: "TestAFileOfEverybodysIsRefused",
	},
	{
		claim: "a devcontainer.json mounts no directory that it names by the laptop",
		file:  "internal/template/devcontainer.go",
		old:   `(kind == "localEnv" || kind == "env")`,
		new:   `kind != ""`,
		pkg:   "internal/template", run: "TestDevcontainerLeft",
	},
	{
		claim: "anchors do not make a template large",
		file:  "internal/template/document.go",
		old:   "size > maxNodes",
		new:   "size < 0",
		pkg:   "internal/template", run: "TestBounds",
	},
	{
		claim: "no label holds a secret",
		file:  "internal/engine/docker/container.go",
		old:   "s.Secrets = nil        // whoever may use the daemon sees labels",
		new:   "",
		pkg:   "internal/engine/docker", run: "TestSecretsStayInTheContainer",
	},
	{
		claim: "no record holds a secret",
		file:  "internal/engine/homes.go",
		old:   "s.Secrets = nil // they are in the workspace only",
		new:   "",
		pkg:   "internal/engine", run: "TestNoSecretIsRecorded",
	},
	{
		claim: "a digest of keyway.lock is a digest, and no words of a command",
		file:  "internal/pin/pin.go",
		old:   `if digest != "" && !sha.MatchString(digest) {`,
		new:   "if false {",
		pkg:   "internal/pin", run: "TestLocksThatAreRefused",
	},
	{
		claim: "a change of keyway.lock by other means is seen",
		file:  "internal/pin/pin.go",
		old:   "return l.Sum != sum(l.Pins)",
		new:   "return false",
		pkg:   "internal/pin", run: "TestLockFile",
	},
	{
		claim: "no value of a variable is in keyway.lock",
		file:  "internal/keyway/environment.go",
		old:   `hex.EncodeToString(sum[:])[:maxHashText]`,
		new:   "env[name]",
		pkg:   "internal/pin", run: "TestNoValueIsInTheLock",
	},
	{
		claim: "what a workspace says of its files is bounded in all",
		file:  "internal/sftp/client/client.go",
		old:   "io.LimitedReader{R: rw, N: limit}",
		new:   "io.LimitedReader{R: rw, N: 1 << 62}",
		pkg:   "internal/sftp/client", run: "TestTheServerIsBounded",
	},
	{
		claim: "what a place tells of a workspace reaches no lock as it is",
		file:  "internal/pin/pin.go",
		old:   "	s = plain.Line(s)\n",
		new:   "	_ = plain.Line(s)\n",
		pkg:   "internal/pin", run: "TestWhatAPlaceTellsIsCleaned",
	},
	{
		claim: "what is no name of a package is no package",
		file:  "internal/installed/installed.go",
		old:   "&& packageForm.MatchString(text)",
		new:   `&& packageForm != nil`,
		pkg:   "internal/installed", run: "TestPipImage",
	},
}
