package option

import "strings"

// Table holds the options of a command about sessions that the laptop passes on to the
// workspace unchanged. Both use this table and its help.
type Table struct {
	Options []Option
	Help    string // the lines about the options in the command's help
}

// Help texts of the tables, which are parts of longer constants in a workspace.
const (
	RunHelp = `  -d, --detach       only start it, and print its name; without a terminal it
                     reads from /dev/null
      --as NAME      call the job NAME; else it is made from the command, as
                     python-1. An ended job of that name is kept as NAME.1, …
      --on-exit CMD  run CMD in a shell of its own when the job has ended; it finds
                     KEYWAY_SESSION, KEYWAY_EXIT_CODE, KEYWAY_SIGNAL,
                     KEYWAY_OOM_KILLS, KEYWAY_STARTED and KEYWAY_ENDED in its
                     environment
  -t, --tty          give it a terminal, even if this is none
  -T, --no-tty       give it pipes; stdout and stderr stay apart, and Python jobs
                     get PYTHONUNBUFFERED=1, unless it is set
      --clipboard    let what it prints set the clipboard of your terminal
`
	AttachHelp = `      --view       only look: nothing typed here reaches it, and its terminal keeps
                   its size; a smaller window shows the part around the cursor
      --clipboard  let what it prints set the clipboard of your terminal (OSC 52)
`
	LogsHelp = `  -f, --follow      go on until the job ends
  -n, --tail N      only the last N lines, and with -f what follows
      --since TIME  only what came since TIME: 30s, 45m, 12h or 2d ago, 14:30
                    today, 2026-01-31, or 2026-01-31T14:30:00Z
      --raw         all bytes as they were printed
`
	SendHelp = `      --text           all words are text, whatever they look like
      --signal SIGNAL  only SIGNAL, as TERM or SIGTERM
`
)

// Run returns the table of keyway run.
func Run() Table {
	return Table{[]Option{{Name: "detach", Letter: 'd'}, {Name: "as", Value: true}, {Name: "on-exit", Value: true},
		{Name: "tty", Letter: 't'}, {Name: "no-tty", Letter: 'T'}, {Name: "clipboard"}}, RunHelp}
}

// Attach returns the table of keyway attach.
func Attach() Table { return Table{[]Option{{Name: "view"}, {Name: "clipboard"}}, AttachHelp} }

// Logs returns the table of keyway logs.
func Logs() Table {
	return Table{[]Option{{Name: "follow", Letter: 'f'}, {Name: "tail", Letter: 'n', Value: true}, {Name: "since", Value: true}, {Name: "raw"}}, LogsHelp}
}

// Send returns the table of keyway send.
func Send() Table { return Table{[]Option{{Name: "text"}, {Name: "signal", Value: true}}, SendHelp} }

// Described returns the help of an option: the name of its value, empty if it takes none, and
// its description in lines.
func (t Table) Described(name string) (value, does string) {
	const before = len("  -x, --") // the name
	var lines []string
	for line := range strings.Lines(t.Help) {
		text := strings.TrimSpace(line)
		if line[before-2:before] == "--" {
			if lines != nil {
				break
			}
			head, rest, _ := strings.Cut(line[before:], "  ")
			found, called, _ := strings.Cut(head, " ")
			if found != name {
				continue
			}
			value, text = called, strings.TrimSpace(rest)
		} else if lines == nil {
			continue
		}
		lines = append(lines, text)
	}
	return value, strings.Join(lines, "\n")
}
