package main

import (
	"bytes"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"

	"keyway/internal/keyway"
)

// commands calls do for every command that people can see.
func commands(root *cobra.Command, do func(*cobra.Command)) {
	for _, c := range root.Commands() {
		if c.IsAvailableCommand() && c.Name() != "help" && c.Name() != "completion" {
			do(c)
			commands(c, do)
		}
	}
}

func TestEveryCommandExplainsItself(t *testing.T) {
	commands(newRootCommand(), func(c *cobra.Command) {
		if c.Short == "" || c.Example == "" {
			t.Errorf("%s has no short text or no example", c.CommandPath())
		}
		if c.HasParent() && !c.Parent().HasParent() && c.Long == "" {
			t.Errorf("%s has no long text", c.CommandPath())
		}
		if strings.HasSuffix(c.Short, ".") {
			t.Errorf("%s: the short text ends with a full stop", c.CommandPath())
		}
	})
}

// execute runs a command line up to the point where it would do something.
func execute(args ...string) (string, error) {
	root := newRootCommand()
	var out bytes.Buffer
	root.SetOut(&out)
	root.SetErr(&out)
	root.SetArgs(args)
	cmd, err := root.ExecuteC()
	if err != nil {
		report(&out, cmd, err)
	}
	return out.String(), err
}

func TestWrongCommandLinesAreUsageErrors(t *testing.T) {
	for line, says := range map[string]string{
		"statsu":                                   "status",
		"image copy keepme:1 gpu1":                 "keyway image copy local gpu1 keepme:1",
		"up --gpu all":                             "did you mean: --gpus",
		"up pytroch":                               "keyway up pytorch",
		"completion bsh":                           "keyway completion bash",
		"completion zsh x":                         "keyway completion zsh",
		"up --name Train":                          "train",
		"up --on -oX":                              "place",
		"up -v ./data:x":                           "absolute",
		"up -e FOO":                                "NAME=VALUE",
		"up --shm-size lots":                       "16gb",
		"up --gpus many":                           "--gpus all",
		"up --name x --user -1":                    "cannot be a user",
		"adopt x --user :0":                        "cannot be a user",
		"adopt x --user 99999999999":               "cannot be a user",
		"adopt /x --on gpu1":                       "keyway adopt --on gpu1",
		"adopt " + strings.Repeat("long", 20):      "--name longlong",
		"up --image " + strings.Repeat("long", 20): "--name longlong",
		"pin no-such-template":                     "keyway templates",
		"check pytroch":                            "keyway check pytorch",
		"drift pytroch":                            "keyway drift pytorch",
		"templates publish pytroch":                "keyway templates publish pytorch",
		"pin local":                                "keyway pin TEMPLATE --on local",
		"ls a b":                                   "leave",
		"rm":                                       "keyway rm train",
		"run train":                                "keyway run train -- python train.py",
		"run -- python":                            "keyway run train",
		"init now":                                 "leave",
		"ssh":                                      "keyway ssh train",
		"link serve something":                     "leave",
	} {
		said, err := execute(strings.Fields(line)...)
		if !keyway.Is(err, keyway.Usage) || !strings.Contains(said, says) || !strings.Contains(said, "→") {
			t.Errorf("%s: %v; it does not say %q:\n%s", line, err, says, said)
		}
	}
}

func TestErrorsAsJSON(t *testing.T) {
	said, _ := execute("ls", "--json", "a", "b")
	if !strings.HasPrefix(said, `{"error":{"kind":"usage","message":`) {
		t.Errorf("got %s", said)
	}
}

func TestNameOfImage(t *testing.T) {
	for image, want := range map[string]string{
		"": "here", "debian:12": "debian", "pytorch/pytorch:2.8.0-cuda12.6": "pytorch",
		"registry.example:5000/team/Train@sha256:abc": "train", "a/b/c": "c",
	} {
		if got := nameOfImage(image); got != want {
			t.Errorf("%s: %s, want %s", image, got, want)
		}
	}
}

func TestWordsForPeople(t *testing.T) {
	for n, want := range map[int64]string{0: "0 B", 999: "999 B", 1000: "1.0 kB", 1_500_000: "1.5 MB", 2 << 30: "2.1 GB"} {
		if got := size(n); got != want {
			t.Errorf("%d: %s, want %s", n, got, want)
		}
	}
	for d, want := range map[time.Duration]string{
		0: "0s", 59 * time.Second: "59s", 90 * time.Minute: "1h", 47 * time.Hour: "47h", 72 * time.Hour: "3d",
	} {
		if got := age(d); got != want {
			t.Errorf("%s: %s, want %s", d, got, want)
		}
	}
}

func TestPlainProgressTellsQuarters(t *testing.T) {
	r, w := osPipe(t)
	u := newUI(w)
	for done := int64(0); done <= 100; done += 10 {
		u.Progress(keyway.Progress{Message: "copying", Done: done, Total: 100})
	}
	u.Progress(keyway.Progress{Message: "done"})
	u.end()
	w.Close()
	var got bytes.Buffer
	got.ReadFrom(r)
	if want := "copying\ncopying: 25%\ncopying: 50%\ncopying: 75%\ncopying: 100%\ndone\n"; got.String() != want {
		t.Errorf("got %q", got.String())
	}
}

func osPipe(t *testing.T) (r, w *os.File) {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	return r, w
}
