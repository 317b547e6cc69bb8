package main

import (
	"cmp"
	"errors"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"keyway/internal/keyway"
	"keyway/internal/plain"
)

// meant maps commands of other programs to keyway's.
var meant = map[string]string{
	"version": "keyway --version",
	"exec":    "keyway ssh NAME COMMAND…        a command over ssh\nkeyway run NAME -- COMMAND…     a job that outlives the connection",
	"ps":      "keyway ls           the workspaces\nkeyway ls NAME      the jobs in one",
	"down":    "keyway stop NAME    what runs ends, the files stay\nkeyway rm NAME      the files go, too",
	"create":  "keyway up --on PLACE --image IMAGE --name NAME",
	"delete":  "keyway rm NAME",
	"jobs":    "keyway ls NAME",
	"shell":   "keyway ssh NAME        a login\nkeyway attach NAME     a shell that stays",
	"connect": "keyway ssh NAME",
	"login":   "keyway unlock          the day's one prompt\nkeyway ssh NAME        into a workspace",
	"logout":  "keyway lock            the agent forgets your keys",
	"restart": "keyway stop NAME && keyway start NAME",
	"pause":   "keyway stop NAME    what runs ends, the files stay",
	"resume":  "keyway start NAME           a stopped workspace\nkeyway attach NAME/JOB      a job or terminal",
	"cp":      "scp FILE NAME:     ssh's own programs know every workspace by its name",
	"rsync":   "rsync -a DIR NAME:     ssh's own programs know every workspace by its name",
	"sftp":    "sftp NAME     ssh's own programs know every workspace by its name",
	"mount":   "sshfs NAME: DIR                                   a directory of the workspace here\nkeyway up --image IMAGE -v /data:/mnt/data        one of the place in the workspace",
	"build":   "docker build at the place, then: keyway up --image IMAGE",
	"pull":    "keyway up --image IMAGE     it pulls what is not there",
	"images":  "keyway image copy local gpu1 IMAGE     from one place to another\nkeyway up --image IMAGE                it pulls what is not there",
	"forward": "keyway open NAME PORT",
	"jupyter": "keyway open NAME jupyter",
	"code":    "keyway open NAME code",
	"submit":  "keyway run NAME -d -- COMMAND…",
	"cancel":  "keyway kill NAME/JOB",
	"signal":  "keyway send NAME/JOB --signal USR1",
	"tail":    "keyway logs NAME -f",
	"top":     "keyway ls       the workspaces, and how many jobs each has\nkeyway gpus     the load of GPUs, and their holders",
	"info":    "keyway status       the route to each place\nkeyway ls NAME      the jobs in a workspace\nkeyway doctor       this laptop",
	"hosts":   "keyway status       the route to each place",
	"config":  "keyway init         the line in ~/.ssh/config\nkeyway doctor       whether all is well on this laptop",
	"tmux":    "keyway attach NAME     a shell that stays",
	"rename":  "keyway up --image IMAGE --name NAME     a workspace keeps its name; make another one, and remove the first",
	"prune":   "keyway rm NAME                          a workspace, with its files\nkeyway ssh NAME keyway rm --ended       the records of ended jobs",
}

// sameWord maps a word to the synonym that meant contains.
var sameWord = map[string]string{
	"remove": "delete", "destroy": "delete", "del": "delete", "purge": "delete", "terminate": "delete",
	"enter": "connect", "into": "connect", "join": "connect", "console": "connect", "reconnect": "resume", "unpause": "resume", "continue": "resume",
	"new": "create", "make": "create", "launch": "create", "spawn": "create", "deploy": "create",
	"scp": "cp", "copy": "cp", "upload": "cp", "download": "cp", "put": "cp", "get": "cp", "sync": "rsync", "push": "rsync",
	"port-forward": "forward", "tunnel": "forward", "port": "forward", "expose": "forward", "browse": "forward",
	"notebook": "jupyter", "lab": "jupyter", "vscode": "code", "cursor": "code", "ide": "code", "sbatch": "submit",
	"scancel": "cancel", "job": "jobs", "sessions": "jobs", "session": "jobs", "squeue": "jobs", "queue": "jobs", "workspaces": "ps", "workspace": "ps", "containers": "ps",
	"htop": "top", "stats": "top", "nvidia-smi": "top", "nvidia": "top", "describe": "info", "inspect": "info", "show": "info", "whoami": "info",
	"places": "hosts", "host": "hosts", "place": "hosts", "setup": "config", "configure": "config", "screen": "tmux",
	"bash": "shell", "sh": "shell", "follow": "tail", "clean": "prune", "cleanup": "prune", "gc": "prune", "about": "version",
}

// noCommand returns the error for a word that is not a command.
func noCommand(root *cobra.Command, word string) error {
	e := keyway.Errorf(keyway.Usage, "there is no command %q", word)
	lower := strings.ToLower(word)
	if say, ok := meant[cmp.Or(sameWord[lower], lower)]; ok {
		return e.Hint("%s", say)
	}
	if a, err := newApp(); err == nil && a.isKnown(word) {
		return e.Hint("%s is a workspace; enter it: keyway ssh %[1]s", plain.Shell(word))
	}
	if near := root.SuggestionsFor(word); len(near) > 0 {
		return e.Hint("did you mean: keyway %s", strings.Join(near, " or keyway "))
	}
	return e.Hint("see the commands: keyway --help")
}

// meantOption maps options of docker run to keyway up's counterparts.
var meantOption = map[string]string{
	"p": "publish", "P": "publish", "d": "detach", "w": "--workdir DIR", "u": "--user USER", "m": "--memory SIZE", "n": "--name NAME",
	"i": "interactive", "t": "interactive", "it": "interactive", "ti": "interactive", "publish-all": "publish", "tty": "interactive",
	"publish":     "no port is published; of the workspace that is up: keyway open NAME PORT",
	"detach":      "a workspace runs until keyway stop NAME; no option is needed",
	"interactive": "leave it out; when the workspace is up: keyway ssh NAME",
	"rm":          "leave it out; when you need the workspace no more: keyway rm NAME",
	"mount":       "-v SOURCE:TARGET",
	"entrypoint":  "give the command at the end: -- COMMAND",
	"env-file":    "-e NAME=VALUE, for each",
	"net":         "--network NETWORK",
	"privileged":  "--cap-add CAP, --device DEVICE or --security-opt no-new-privileges=false, as far as it is needed",
	"restart":     "leave it out; after a restart of the machine: keyway start NAME",
	"hostname":    "--name NAME is the host name inside, too",
	"host":        "--on PLACE", "place": "--on PLACE", "at": "--on PLACE",
	"runtime": "--gpus all", "cpuset-cpus": "--cpus N",
}

// badOption returns the error for options that cannot be parsed. It names the option that was
// probably meant, or says where the user's own command begins.
func badOption(cmd *cobra.Command, err error) error {
	e := keyway.Errorf(keyway.Usage, "%w", err)
	given := cmd.Flags().Args() // before the option
	if !cmd.HasParent() && len(given) > 0 {
		return noCommand(cmd, given[0])
	}
	var unknown *pflag.NotExistError
	if errors.As(err, &unknown) {
		if cmd.Name() == "run" && len(given) > 1 {
			return e.Hint("two dashes come before a command with options: keyway run %s -- %s", plain.Shell(given[0]), plain.Shell(given[1]))
		}
		if say := optionFor(cmd, unknown.GetSpecifiedName(), unknown.GetSpecifiedShortnames()); say != "" {
			return e.Hint("%s", say)
		}
	}
	return e.Hint("see the options: %s --help", cmd.CommandPath())
}

// optionFor returns what to type instead of an option that does not exist, or "".
func optionFor(cmd *cobra.Command, name, letters string) string {
	if cmd.Name() == "up" {
		say := cmp.Or(meantOption[letters], meantOption[name])
		if say != "" {
			return cmp.Or(meantOption[say], say)
		}
	}
	if len(name) < 2 {
		return ""
	}
	var near []string
	cmd.Flags().VisitAll(func(f *pflag.Flag) {
		if !f.Hidden && (strings.HasPrefix(f.Name, name) || strings.HasPrefix(name, f.Name) && len(f.Name) > 2 || keyway.Distance(f.Name, name) <= 2 && len(name) > 3) {
			near = append(near, "--"+f.Name)
		}
	})
	if len(near) == 0 {
		return ""
	}
	slices.Sort(near)
	return "did you mean: " + strings.Join(near, " or ")
}
