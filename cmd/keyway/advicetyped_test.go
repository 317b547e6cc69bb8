package main

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"keyway/internal/keyway"
)

// aboutOf has realistic values for each step with values. A step without a row has no value, or
// only the workspace gpu1/train.
var aboutOf = map[keyway.Step][][]string{
	keyway.SeeAt: {{"gpu1"}}, keyway.IsAPlace: {{"gpu1"}}, keyway.SeePlace: {{"gpu1"}}, keyway.StatusNow: {{"ada@gpu1"}},
	keyway.AddHost: {{"gpu1"}}, keyway.GoThere: {{"gpu1"}, {"ada@gpu1"}},
	keyway.AddEachAgain: {{"/home/ada/.local/state/keyway/hosts.json"}}, keyway.ExampleOfAdding: {{"train"}},
	keyway.OtherName: {{"train-1"}}, keyway.RemoveKnownKey: {{"train", "/home/ada/.ssh/known hosts"}},
	keyway.CopyImage: {{"team/pytorch:1"}},
	keyway.NameImage: {{keyway.DefaultImage}}, keyway.NearestImage: {{"team/pytorch:1"}}, keyway.OtherWorkdir: {{keyway.DefaultImage}},
	keyway.UpdateEngine: {{"Docker", "20.10"}}, keyway.FewerGPUs: {{"2"}}, keyway.NameGPUs: {{"0,3"}}, keyway.EitherGPUs: {{"NVIDIA_VISIBLE_DEVICES=all"}},
	keyway.WaitForGPUs: {{"all"}, {"2"}, {"device=0,3"}}, keyway.MeantTemplate: {{"pytorch"}}, keyway.NameTemplate: {{"pytorch"}},
	keyway.NewerDriver: {{"560.35.03", "12.4", "pytorch"}}, keyway.SetIfItRuns: {{"NVIDIA_DISABLE_REQUIRE=1"}},
	keyway.NotReadOnly: {{keyway.EnginePodman}}, keyway.MountElsewhere: {{"/data"}}, keyway.MountReadOnly: {{"/data", "/mnt/data"}},
	keyway.CorrectMount: {{"/data", "/mnt/data"}}, keyway.LeaveVolumeOut: {{"/data", "/mnt/data"}}, keyway.UlimitOnce: {{"nofile"}},
	keyway.LessShm: {{"8gb"}}, keyway.MoreShm: {{"8gb"}}, keyway.LowerUlimit: {{"nofile", "1024"}},
	keyway.UnlockFile: {{"/home/ada/.ssh/my key"}}, keyway.PrepareIn: {{"/home/ada"}}, keyway.StopLinkOrRead: {{"/home/ada/.local/state/keyway/link.log"}},
	keyway.StartEngine: {{"sudo systemctl start docker"}}, keyway.StartOwnEngine: {{"systemctl --user start podman.socket"}},
	keyway.JoinEngineGroup: {{"sudo usermod -aG docker $USER"}}, keyway.InstallGPUs: {{"sudo nvidia-ctk runtime configure --runtime=docker"}},
	keyway.IsAJob: {{"gpu1/train", "exp7"}}, keyway.AddWhenReached: {{"gpu1/train", "gpu1"}},
	keyway.SeeOrEndSession: {{"train/exp7"}}, keyway.EndSession: {{"train/exp7"}},
}

// optionSteps are about an option; the program's source has the options' names.
var optionSteps = []keyway.Step{keyway.Example, keyway.LeaveOut, keyway.ChangeOrLeaveOut, keyway.LeaveOutOrCgroup, keyway.AsTemplate}

// TestEveryStepCanBeTyped checks that this command line accepts every step that can be advised,
// whether its place is known or not.
func TestEveryStepCanBeTyped(t *testing.T) {
	t.Setenv("HOME", t.TempDir())
	typed := 0
	for _, step := range steps(t) {
		rows := append(aboutOf[step], []string{}, []string{"gpu1/train"}, []string{"train"})
		if aboutOf[step] != nil {
			rows = aboutOf[step]
		}
		said := false
		for _, about := range rows {
			for _, at := range []keyway.Place{"", "gpu1", "ada@gpu1", keyway.Local} {
				text := next("", []keyway.Advice{{Step: step, About: about}}, at)
				said = said || text != ""
				typed += checkTyped(t, string(step), text)
			}
		}
		if !said && !slices.Contains(optionSteps, step) {
			t.Errorf("%s is said of nothing: give its row in aboutOf", step)
		}
	}
	if typed < 150 {
		t.Errorf("only %d commands were found", typed)
	}
}

// TestAdvisedOptionsAreThoseOfUp checks that each option that the source advises is an option of
// up and accepts the advised value.
func TestAdvisedOptionsAreThoseOfUp(t *testing.T) {
	t.Setenv("HOME", t.TempDir())
	seen := 0
	calls(t, []string{"../../internal", "."}, func(at token.Position, name string, args []ast.Expr) {
		step, ok := selected(args, 0)
		if name != "Advise" || !ok || !slices.Contains([]string{"Example", "LeaveOut", "ChangeOrLeaveOut", "LeaveOutOrCgroup", "AsTemplate"}, step) {
			return
		}
		option, ok := literal(args, 1)
		if !ok {
			return // of a table, whose rows are options of a template
		}
		seen++
		if newUpCommand().Flags().Lookup(option) == nil {
			t.Errorf("%s: up has no option --%s", at, option)
		} else if value, ok := literal(args, 2); ok && step == "Example" {
			checkTyped(t, at.String(), next("", []keyway.Advice{{Step: keyway.Example, About: []string{option, value}}}, ""))
		}
	})
	if seen < 30 {
		t.Errorf("only %d options were found", seen)
	}
}

// TestEveryHintCanBeTyped checks that this command line takes each command that the commands
// print, and that placeholders in them are marked.
func TestEveryHintCanBeTyped(t *testing.T) {
	t.Setenv("HOME", t.TempDir())
	typed := 0
	calls(t, []string{"."}, func(at token.Position, name string, args []ast.Expr) {
		for i, arg := range args {
			text, ok := text(arg)
			if !ok || !strings.Contains(text, "keyway ") || strings.HasPrefix(text, "keyway agent: ") || strings.HasPrefix(text, ".TH ") {
				continue
			}
			screen := text
			if name == "Hint" && i == 0 || name == "toFill" {
				screen = toFill(text)
			}
			if n := checkTyped(t, at.String(), values1(screen)); n > 0 {
				typed += n
			}
		}
	})
	for word, text := range meant {
		typed += checkTyped(t, word, toFill(text))
	}
	commands(newRootCommand(), func(c *cobra.Command) {
		for line := range strings.Lines(c.Example) {
			typed += checkTyped(t, c.CommandPath(), strings.TrimSpace(line))
		}
	})
	if typed < 150 {
		t.Errorf("only %d commands were found", typed)
	}
}

// TestTheCheckerSees checks that the checker detects each fault that was found before.
func TestTheCheckerSees(t *testing.T) {
	for text, fault := range map[string]string{
		"see which there are: keyway adopt --on PLACE": "stand-in", "enter it: keyway enter gpu1/train": "keyway enter",
		"keyway gpus --place gpu1": "unknown flag", "keyway ls a b": "leave", "or: --gpuz 2": "--gpuz", "wait: keyway up … --gpus 2": "…",
		"keyway up --gpus lots": "", "choose it: keyway up --ipc WHOM": "WHOM", "try: keyway stop": "needs",
	} {
		if got := strings.Join(untypable(text), "; "); fault == "" && got != "" || fault != "" && !strings.Contains(got, fault) {
			t.Errorf("%q: %q, want %q", text, got, fault)
		}
	}
}

func checkTyped(t *testing.T, where, text string) (typed int) {
	t.Helper()
	for _, fault := range untypable(text) {
		t.Errorf("%s: %s\nin: %s", where, fault, text)
	}
	for line := range strings.Lines(text) {
		typed += len(commandsIn(line)) + len(optionsIn(line))
	}
	return typed
}

// untypable returns the fault of a text's command, which users cannot type as it stands.
func untypable(text string) (faults []string) {
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, "\n")
		if words := standInsOf(strings.SplitN(line, "   (with yours for ", 2)[0]); len(words) > 0 && toFill(line) != line && !strings.Contains(line, "(with yours for ") {
			faults = append(faults, "a stand-in that does not say so: "+strings.Join(words, ", "))
		}
		line, _, _ = strings.Cut(line, "   ") // the note, or the comment of an example
		for _, command := range commandsIn(line) {
			faults = append(faults, refusal(command)...)
		}
		for _, option := range optionsIn(line) {
			if upFlag(option) == nil {
				faults = append(faults, "no option of up: "+option)
			}
		}
	}
	return faults
}

// typedAfter matches the text before a command, and typedUntil the text after it.
var (
	typedAfter = regexp.MustCompile(`(?:^\s*|: |; |&& |\(|HOME=\S+ |SSH_AUTH_SOCK= |meaning |mean: |keyway [a-z]+ or )keyway (-?[a-z-]+[^;&)\]\n|]*)`)
	typedUntil = regexp.MustCompile(`, (?:then|which|with|and|or)\b|"|\. | or keyway | >| has it later| has later`)
	lone       = regexp.MustCompile(`(?:: |; or |out |than )(--?[a-z][a-z-]*)`)
)

func commandsIn(line string) (found [][]string) {
	for _, m := range typedAfter.FindAllStringSubmatch(line, -1) {
		command := m[1]
		if at := typedUntil.FindStringIndex(command); at != nil {
			command = command[:at[0]]
		}
		found = append(found, shellWords(command))
	}
	return found
}

// optionsIn returns the options in a line that are named without a command: those of up.
func optionsIn(line string) (found []string) {
	for _, m := range lone.FindAllStringSubmatch(line, -1) {
		found = append(found, m[1])
	}
	return found
}

func upFlag(option string) *pflag.Flag {
	flags := newUpCommand().Flags()
	if name, long := strings.CutPrefix(option, "--"); long {
		return flags.Lookup(name)
	}
	return flags.ShorthandLookup(option[1:])
}

// shellWords returns the words of a command, in which only single quotes are special.
func shellWords(s string) (words []string) {
	for i, part := range strings.Split(s, "'") {
		if i%2 == 1 {
			words = append(words, part)
			continue
		}
		words = append(words, strings.Fields(part)...)
	}
	return words
}

// inPlaceOf has the users' words for the words in capitals.
var inPlaceOf = map[string]string{
	"PLACE": "gpu1", "HOST": "gpu1", "NAME": "train", "IMAGE": "debian:12", "TEMPLATE": "pytorch", "SERVICE": "train", "CONTAINER": "gpu_train",
	"COMMAND": "make", "COMMAND…": "make", "PORT": "8080", "KEYFILE": "id", "KEY": "id", "DIR": "/work", "PATH": "/log", "USER": "ada",
	"NAME/JOB": "train/exp7", "JOB": "exp7", "FILE": "f",
}

var capitals = regexp.MustCompile(`^[A-Z][A-Z=:/-]+$`)

// refusal returns why the command tree does not take a command.
func refusal(words []string) (faults []string) {
	for i, word := range words {
		switch {
		case inPlaceOf[word] != "":
			words[i] = inPlaceOf[word]
		case strings.Contains(word, "…"):
			faults = append(faults, "… is nothing to type: "+word)
		case capitals.MatchString(word) && !slices.Contains([]string{"INT", "USR1", "SIGINT"}, word):
			for part := range strings.FieldsFuncSeq(word, func(r rune) bool { return strings.ContainsRune("=:/", r) }) {
				if inPlaceOf[part] == "" {
					faults = append(faults, "an unknown stand-in: "+word)
				}
			}
		}
	}
	root := newRootCommand()
	if slices.Equal(words, []string{"--version"}) || slices.Equal(words, []string{"--help"}) {
		return faults
	}
	cmd, rest, err := root.Find(words)
	if err != nil || cmd == root {
		return append(faults, "no command: keyway "+strings.Join(words, " "))
	}
	if slices.Contains(rest, "--help") {
		return faults
	}
	if cmd.DisableFlagParsing {
		if cmd.Name() == "ssh" && len(rest) == 0 {
			faults = append(faults, "keyway ssh needs a workspace")
		}
		return faults
	}
	if err := cmd.ParseFlags(rest); err != nil {
		return append(faults, "keyway "+strings.Join(words, " ")+": "+err.Error())
	}
	if err := cmd.ValidateArgs(cmd.Flags().Args()); err != nil {
		return append(faults, "keyway "+strings.Join(words, " ")+": "+err.Error())
	}
	return faults
}

// values1 returns a format with values in it.
func values1(format string) string {
	format = strings.ReplaceAll(format, "keyway %s", "keyway check") // any command about templates
	return verb.ReplaceAllString(format, "train")
}

var verb = regexp.MustCompile(`%(?:\[\d\])?(?:\.\d+)?[sqdv]`)

// calls calls do for each call of a function in the source that users run.
func calls(t *testing.T, dirs []string, do func(at token.Position, name string, args []ast.Expr)) {
	t.Helper()
	for _, dir := range dirs {
		var files []string
		for _, pattern := range []string{"*.go", "*/*.go", "*/*/*.go", "*/*/*/*.go"} {
			found, err := filepath.Glob(filepath.Join(dir, pattern))
			if err != nil {
				t.Fatal(err)
			}
			files = append(files, found...)
		}
		for _, path := range files {
			if strings.HasSuffix(path, "_test.go") {
				continue
			}
			set := token.NewFileSet()
			file, err := parser.ParseFile(set, path, nil, 0)
			if err != nil {
				t.Fatal(err)
			}
			ast.Inspect(file, func(n ast.Node) bool {
				if call, ok := n.(*ast.CallExpr); ok {
					do(set.Position(call.Pos()), called(call.Fun), call.Args)
				}
				return true
			})
		}
	}
}

func called(f ast.Expr) string {
	switch f := f.(type) {
	case *ast.SelectorExpr:
		return f.Sel.Name
	case *ast.Ident:
		return f.Name
	}
	return ""
}

func selected(args []ast.Expr, i int) (string, bool) {
	if i >= len(args) {
		return "", false
	}
	switch a := args[i].(type) {
	case *ast.SelectorExpr:
		return a.Sel.Name, true
	case *ast.Ident:
		return a.Name, true
	}
	return "", false
}

func literal(args []ast.Expr, i int) (string, bool) {
	if i >= len(args) {
		return "", false
	}
	l, ok := args[i].(*ast.BasicLit)
	if !ok || l.Kind != token.STRING {
		return "", false
	}
	s, err := strconv.Unquote(l.Value)
	return s, err == nil
}

// text returns the value of a literal, or of several joined literals.
func text(e ast.Expr) (string, bool) {
	if b, ok := e.(*ast.BinaryExpr); ok && b.Op == token.ADD {
		x, okX := text(b.X)
		y, okY := text(b.Y)
		switch {
		case okX && okY:
			return x + y, true
		case okX:
			return x + "train", true
		case okY:
			return "train" + y, true
		}
	}
	return literal([]ast.Expr{e}, 0)
}
