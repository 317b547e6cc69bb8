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
}
