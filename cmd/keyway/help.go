package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"
)

// runRoot runs when cobra has recognised no command.
func runRoot(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return cmd.Help()
	}
	return noCommand(cmd, args[0])
}

// helpKnowsItsWords makes the help command refuse words that are not commands.
func helpKnowsItsWords(root *cobra.Command) {
	root.InitDefaultHelpCmd()
	cmd, _, err := root.Find([]string{"help"})
	if err != nil {
		return
	}
	show := cmd.Run
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if found, _, _ := root.Find(args); found == root && len(args) > 0 {
			return noCommand(root, args[0])
		}
		show(cmd, args)
		return nil
	}
}

// help prints a command's help. The exit codes, which are for scripts, come last.
func help(cmd *cobra.Command, _ []string) {
	text, codes := splitExitCodes(cmd)
	fmt.Fprintf(cmd.OutOrStdout(), "%s\n\n%s", text, cmd.UsageString())
	if codes != "" {
		fmt.Fprintf(cmd.OutOrStdout(), "\n%s\n", codes)
	}
}

// folded joins words by commas, in lines of at most width characters.
func folded(words []string, width int) string {
	var lines []string
	line := ""
	for i, w := range words {
		if i < len(words)-1 {
			w += ","
		}
		if line != "" && len(line)+1+len(w) > width {
			lines, line = append(lines, line), ""
		}
		line = strings.TrimSpace(line + " " + w)
	}
	return strings.Join(append(lines, line), "\n")
}

// splitExitCodes splits a command's long text into the text and its section about exit codes.
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
