package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"keyway/internal/keyway"
)

// meant maps commands of other programs to the commands here.
var meant = map[string]string{
	"version": "keyway --version",
	"exec":    "keyway ssh NAME COMMAND…        a command over ssh\nkeyway run NAME -- COMMAND…     a job that outlives the connection",
	"ps":      "keyway ls           the workspaces\nkeyway ls NAME      the jobs in one",
	"down":    "keyway stop NAME    what runs ends, the files stay\nkeyway rm NAME      the files go, too",
	"create":  "keyway up --on PLACE --image IMAGE --name NAME",
	"delete":  "keyway rm NAME",
	"remove":  "keyway rm NAME",
	"destroy": "keyway rm NAME",
	"jobs":    "keyway ls NAME",
	"shell":   "keyway ssh NAME        a login\nkeyway attach NAME     a shell that stays",
	"enter":   "keyway ssh NAME",
	"login":   "keyway unlock          the day's one prompt\nkeyway ssh NAME        into a workspace",
	"connect": "keyway ssh NAME",
	"restart": "keyway stop NAME && keyway start NAME",
	"cp":      "scp FILE NAME:     ssh's own programs know every workspace by its name",
	"build":   "docker build at the place, then: keyway up --image IMAGE",
	"pull":    "keyway up --image IMAGE     it pulls what is not there",
}

// runRoot is reached when no command was recognised.
func runRoot(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return cmd.Help()
	}
	e := keyway.Errorf(keyway.Usage, "there is no command %q", args[0])
	if say, ok := meant[strings.ToLower(args[0])]; ok {
		return e.Hint("%s", say)
	}
	if near := cmd.SuggestionsFor(args[0]); len(near) > 0 {
		return e.Hint("did you mean: keyway %s", strings.Join(near, " or keyway "))
	}
	return e.Hint("see the commands: keyway --help")
}

// help prints the help of a command. The exit codes, which are for scripts, come last.
func help(cmd *cobra.Command, _ []string) {
	text, codes := splitExitCodes(cmd)
	fmt.Fprintf(cmd.OutOrStdout(), "%s\n\n%s", text, cmd.UsageString())
	if codes != "" {
		fmt.Fprintf(cmd.OutOrStdout(), "\n%s\n", codes)
	}
}

// splitExitCodes divides a command's long text from its section about exit codes.
func splitExitCodes(cmd *cobra.Command) (text, codes string) {
	text = cmd.Long
	if text == "" {
		text = cmd.Short
	}
	if at := strings.Index(text, "\n\nExit code"); at >= 0 {
		text, codes = text[:at], text[at+2:]
	}
	return strings.TrimSpace(text), strings.TrimSpace(codes)
}
