package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"keyway/internal/keyway"
)

func newManCommand() *cobra.Command {
	return &cobra.Command{
		Use:    "man DIRECTORY",
		Short:  "Write the manual pages into a directory",
		Args:   takes(1, 1, "a directory"),
		Hidden: true, // for packagers and make install
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := os.MkdirAll(args[0], 0o755); err != nil {
				return err
			}
			return writePages(cmd.Root(), args[0])
		},
	}
}

// writePages writes a page for a command and for each of its subcommands.
func writePages(cmd *cobra.Command, dir string) error {
	name := strings.ReplaceAll(cmd.CommandPath(), " ", "-")
	if err := os.WriteFile(filepath.Join(dir, name+".1"), []byte(manPage(name, cmd)), 0o644); err != nil {
		return err
	}
	for _, c := range cmd.Commands() {
		if c.IsAvailableCommand() && c.Name() != "help" {
			if err := writePages(c, dir); err != nil {
				return err
			}
		}
	}
	return nil
}

// manPage returns a manual page in the language of man(7).
func manPage(name string, cmd *cobra.Command) string {
	var b strings.Builder
	section := func(title, text string) {
		if text != "" {
			fmt.Fprintf(&b, ".SH %s\n%s", title, paragraphs(text))
		}
	}
	text, codes := splitExitCodes(cmd)
	if _, rest, ok := strings.Cut(codes, "\n"); ok && strings.HasPrefix(codes, "Exit codes:") {
		codes = rest
	}
	fmt.Fprintf(&b, ".TH %s 1 \"\" \"keyway %s\"\n.ad l\n.SH NAME\n%s \\- %s\n", strings.ToUpper(roff(name)), roff(keyway.Version), roff(name), roff(cmd.Short))
	section("SYNOPSIS", cmd.UseLine())
	section("DESCRIPTION", text)
	if cmd.HasAvailableLocalFlags() {
		b.WriteString(".SH OPTIONS\n")
		cmd.LocalFlags().VisitAll(func(f *pflag.Flag) { b.WriteString(manOption(f)) })
	}
	section("EXAMPLES", cmd.Example)
	section("EXIT STATUS", strings.TrimPrefix(codes, "Exit code: "))
	var also []string
	for _, c := range cmd.Commands() {
		if c.IsAvailableCommand() && c.Name() != "help" {
			also = append(also, name+"-"+c.Name()+"(1)")
		}
	}
	if cmd.HasParent() {
		also = append(also, strings.ReplaceAll(cmd.Parent().CommandPath(), " ", "-")+"(1)")
	}
	if len(also) > 0 {
		fmt.Fprintf(&b, ".SH SEE ALSO\n%s\n", roff(strings.Join(also, ", ")))
	}
	return b.String()
}

func manOption(f *pflag.Flag) string {
	if f.Hidden {
		return ""
	}
	value, usage := pflag.UnquoteUsage(f)
	long := "--" + f.Name
	if value != "" {
		long += " " + value
	}
	if f.Shorthand != "" {
		long = "-" + f.Shorthand + ", " + long
	}
	return fmt.Sprintf(".TP\n.B %s\n%s\n", roff(long), roff(strings.ReplaceAll(usage, "\n", " ")))
}

// paragraphs converts the paragraphs of a text. man fills them to the width of the terminal,
// except for indented lines, which are shown as they are: tables, files and commands.
func paragraphs(text string) string {
	var b strings.Builder
	asIs := false
	for line := range strings.SplitSeq(strings.TrimRight(text, "\n"), "\n") {
		line = strings.ReplaceAll(line, "\t", "    ")
		if indented := strings.HasPrefix(line, " "); line != "" && indented != asIs {
			asIs = indented
			b.WriteString(map[bool]string{true: ".nf\n", false: ".fi\n"}[asIs])
		}
		if line == "" {
			b.WriteString(".PP\n")
			continue
		}
		b.WriteString(roff(line) + "\n")
	}
	if asIs {
		b.WriteString(".fi\n")
	}
	return b.String()
}

// roff escapes text so that troff takes none of it for a request.
func roff(text string) string {
	text = strings.NewReplacer(`\`, `\e`, "-", `\-`).Replace(text)
	var ascii strings.Builder
	for _, r := range text {
		if r > '~' {
			fmt.Fprintf(&ascii, `\[u%04X]`, r)
		} else {
			ascii.WriteRune(r)
		}
	}
	lines := strings.Split(ascii.String(), "\n")
	for i, line := range lines {
		if strings.HasPrefix(line, ".") || strings.HasPrefix(line, "'") {
			lines[i] = `\&` + line
		}
	}
	return strings.Join(lines, "\n")
}
