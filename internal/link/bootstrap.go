package link

import (
	"bufio"
	"cmp"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"keyway/internal/api"
	"keyway/internal/keyway"
	"keyway/internal/plain"
)

// bootstrapScript runs in the place's sh. It uses only syntax that dash, bash, busybox and ksh
// share. The remote login shell, of any kind, sees it between single quotes: so it has no single
// quote, no backslash (fish), no newline and no '!' (csh).
//
// Arguments: the program's hash for x86_64, the one for aarch64 ("-" where there is no program),
// and "fresh" if a cached program must not be trusted.
//
// It looks for the program by its hash in the user's cache directory, in the runtime directory and
// in private directories below /tmp and /var/tmp, in this order, and executes it. If there is none,
// it requests the program for the first of these directories that has space, is writable and allows execution.
// It writes these lines to stdout:
//
//	keyway-bootstrap unsupported OS MACHINE
//	keyway-bootstrap closed DESCRIPTORS   a start file has closed standard input (0) or output (1), or
//	                                      has put /dev/null there; this line goes to stderr, too
//	keyway-bootstrap nowhere              no directory is writable and allows execution
//	keyway-bootstrap need MACHINE cache|fallback DIR
//	                                      answer: a line with the size, then as many bytes of gzip
//	keyway-bootstrap broken               the program had another hash, or did not fit on the disk
//	keyway-bootstrap run DIR
//
// Other users can exchange the target of a path below /tmp or /var/tmp at any moment. So the script enters a
// directory, checks that it belongs to the user and is closed to all others, and from then on uses
// only names in it.
//
// sh's read takes one byte at a time from a pipe, and nothing follows the program until it has
// reported that it runs, so no byte is lost between the two. The program gets the umask and the
// locale of the login.
const bootstrapScript = `q=$(umask); umask 077; unset CDPATH; m=$(uname -m); o=$(uname -s); ` +
	`case $m in x86_64|amd64) h=$1;; aarch64|arm64) h=$2;; *) h=-;; esac; ` +
	`if [ "$o" = Linux ]; then :; else h=-; fi; if [ "$h" = - ]; then echo "keyway-bootstrap unsupported $o $m"; exit 0; fi; ` +
	`s=; f=/proc/self/fd; if [ -d "$f" ]; then for i in 0 1; do if [ -e "$f/$i" ]; then if [ "$f/$i" -ef /dev/null ]; then s="$s$i"; fi; else s="$s$i"; fi; done; fi; ` +
	`if [ -n "$s" ]; then echo "keyway-bootstrap closed $s" >&2; echo "keyway-bootstrap closed $s" 2>/dev/null; exit 0; fi; ` +
	`u=$(id -u); case ${XDG_CACHE_HOME:-} in /*) a="$XDG_CACHE_HOME/keyway";; *) a="${HOME:-/nonexistent}/.cache/keyway";; esac; ` +
	`case ${XDG_RUNTIME_DIR:-} in /*) b="$XDG_RUNTIME_DIR/keyway";; *) b="/run/user/$u/keyway";; esac; c="/tmp/keyway-$u"; e="/var$c"; ` +
	`own() { if [ -h "$1" ]; then return 1; fi; cd "$1" 2>/dev/null || return 1; if [ -O . ]; then :; else cd /; return 1; fi; }; ` +
	`shut() { case $(LC_ALL=C ls -ld .) in d????-??-*) ;; *) return 1;; esac; }; ` +
	`become() { echo "keyway-bootstrap run $1"; umask "$q"; exec "./keyway-$h" node --stdio; }; ` +
	`if [ "$3" = fresh ]; then :; else for d in "$a" "$b" "$c" "$e"; do ` +
	`if own "$d" && shut && [ -f "./keyway-$h" ] && [ -O "./keyway-$h" ] && [ -x "./keyway-$h" ]; then become "$d"; fi; done; fi; ` +
	`fits() { set -- $(LC_ALL=C df -Pk . 2>/dev/null | tail -n 1); if [ "${4:-}" -lt ` + roomForProgram + ` ] 2>/dev/null; then return 1; fi; }; ` +
	`w=; t="./.try$$"; for d in "$a" "$b" "$c" "$e"; do ` +
	`if mkdir -p "$d" && own "$d" && chmod 700 . && shut && fits && rm -f "$t" && echo : > "$t" && chmod 700 "$t" && "$t"; then w=$d; fi 2>/dev/null; ` +
	`rm -f "$t" 2>/dev/null; if [ -n "$w" ]; then break; fi; cd /; done; ` +
	`if [ -z "$w" ]; then echo "keyway-bootstrap nowhere"; exit 0; fi; ` +
	`t="./.keyway-$h.$$"; rm -f "$t"; trap "rm -f ./.keyway-$h.$$" EXIT; trap "exit 1" HUP INT TERM PIPE; ` +
	`if [ "$w" = "$a" ]; then k=cache; else k=fallback; fi; echo "keyway-bootstrap need $m $k $w"; read -r n || exit 1; ` +
	`head -c "$n" | gzip -dc > "$t" || { echo "keyway-bootstrap broken"; exit 0; }; ` +
	`if s=$(sha256sum "$t" 2>/dev/null || openssl dgst -sha256 -r "$t" 2>/dev/null); then case $s in "$h "*) ;; *) echo "keyway-bootstrap broken"; exit 0;; esac; fi; ` +
	`if [ -d "./keyway-$h" ]; then rm -rf "./keyway-$h"; fi; chmod 700 "$t" && mv -f "$t" "./keyway-$h" || { echo "keyway-bootstrap broken"; exit 0; }; ` +
	`become "$w"`

// roomForProgram is the space that a directory must have for the program, in units of 1,024 bytes:
// a node has 13 MB. Where df prints nothing, the program is tried.
const roomForProgram = "16384"

// scriptWord begins the script's lines. The link replaces it by a random marker: start files may
// print anything before the script runs, even without an end of line.
const scriptWord = "keyway-bootstrap"

func newMarker() string { return scriptWord + "-" + rand.Text() }

// marked returns the command with the marker.
func marked(command, marker string) string {
	return strings.ReplaceAll(command, scriptWord+" ", marker+" ")
}

// bootstrapCommand returns the remote command that runs the script.
func bootstrapCommand(amd64, arm64 string, fresh bool) string {
	mode := "cached"
	if fresh {
		mode = "fresh"
	}
	return fmt.Sprintf("exec sh -c '%s' keyway-bootstrap %s %s %s", bootstrapScript, amd64, arm64, mode)
}

// Program is a node program for places of one architecture.
type Program struct {
	Hash string // SHA-256 of the program, hexadecimal
	// Open returns the gzipped program and its size in bytes.
	Open func() (io.ReadCloser, int64, error)
}

// Programs are the programs that can be sent to places, by GOARCH.
type Programs map[string]Program

func (p Programs) hash(arch string) string {
	if prog, ok := p[arch]; ok {
		return prog.Hash
	}
	return "-"
}

// machines maps the output of uname -m on Linux to GOARCH.
var machines = map[string]string{"x86_64": "amd64", "amd64": "amd64", "aarch64": "arm64", "arm64": "arm64"}

// errCached means that the place started a program from its cache which did not greet: the cache
// must not be trusted.
var errCached = errors.New("the cached program did not start")

const (
	// maxNoise bounds the bytes that a place may print before its node greets: messages of the
	// login shell's start files, and the bootstrap's lines.
	maxNoise = 64 << 10
	// maxLine bounds the bytes of a line of the bootstrap.
	maxLine = maxNoise
)

// bootstrap is the link's side of one conversation with the script.
type bootstrap struct {
	place    keyway.Place
	marker   string                // begins the script's lines
	programs Programs              // to send, if the place has none that it can run
	report   func(keyway.Progress) // called while a program is sent
	heard    func(line string)     // called with every line that is not the script's, its end included
}

// greeted speaks with the script over r and w until the node has greeted, and returns the version
// of the protocol with the node.
func (b bootstrap) greeted(r *bufio.Reader, w io.Writer) (version int, err error) {
	noise, sent, running := 0, false, false
	var unsent error // the error of sending the program; the script may report a more specific one
	for {
		line, err := readLine(r)
		noise += len(line) + 1                            // with its end: an empty line counts
		if at := strings.Index(line, b.marker); at >= 0 { // it may follow text without an end of line
			line = scriptWord + line[at+len(b.marker):]
		} else if !running && !strings.HasPrefix(line, api.GreetingWord+" ") {
			b.heard(line + "\n") // including an incomplete line
			line = ""
		}
		if err != nil {
			if running && !sent {
				return 0, errCached
			}
			return 0, cmp.Or(unsent, err)
		}
		word, rest, _ := strings.Cut(line, " ")
		if word == api.GreetingWord {
			return agree(b.place, rest, api.Spoken)
		}
		if noise > maxNoise {
			return 0, keyway.Errorf(keyway.Other, "%s prints more than %d bytes before any command runs", b.place, maxNoise).
				Hint("make its shell's start files quiet when there is no terminal: try ssh %s true", b.place)
		}
		if word != scriptWord {
			continue
		}
		verb, rest, _ := strings.Cut(rest, " ")
		switch verb {
		case "run":
			running = true
		case "need":
			if sent {
				return 0, keyway.Errorf(keyway.VersionMismatch, "%s asks for the program again after it has been sent", b.place).
					Hint("see what answers there: ssh %s true", b.place)
			}
			sent = true
			unsent = b.send(rest, w)
			if user := (*keyway.Error)(nil); errors.As(unsent, &user) {
				return 0, unsent
			}
		case "unsupported":
			return 0, b.unsupported(rest)
		case "closed":
			return 0, b.closed(rest)
		case "nowhere":
			return 0, keyway.Errorf(keyway.NoSpace, "there is no directory at %s to put a program into and run it: neither the cache directory nor the runtime directory nor /tmp nor /var/tmp can be written to and run from", b.place).
				Hint("see which is full, read-only or mounted noexec: %s", typedAt(b.place, "df -h . /run /tmp /var/tmp; df -i . /run /tmp /var/tmp"))
		case "broken":
			return 0, keyway.Errorf(keyway.NoSpace, "the program arrived incomplete at %s", b.place).
				Hint("see whether its disk is full: %s", typedAt(b.place, "df -h; df -i"))
		default:
			return 0, keyway.Errorf(keyway.VersionMismatch, "%s answers the bootstrap with %s", b.place, plainWord(verb))
		}
	}
}

// typedAt returns the command line with which a user here runs a command, or several, at the place.
func typedAt(place keyway.Place, command string) string {
	if place == keyway.Local {
		return command
	}
	if strings.Contains(command, ";") {
		command = plain.Shell(command) // the shell there separates them
	}
	return "ssh " + string(place) + " " + command
}

// agree returns the highest version that both this program, which speaks those in spoken, and the
// greeting node speak.
func agree(place keyway.Place, greeting string, spoken api.Versions) (int, error) {
	theirs, program, err := api.ParseGreeting(greeting)
	if err != nil {
		return 0, keyway.Errorf(keyway.VersionMismatch, "%s does not greet as a keyway does: %w", place, err).
			Hint("see what answers there: ssh %s true", place)
	}
	if version := spoken.Common(theirs); version > 0 {
		return version, nil
	}
	return 0, keyway.Errorf(keyway.VersionMismatch, "the keyway at %s (%s) speaks protocol %s, this one (%s) speaks %s",
		place, plainWord(program), theirs, keyway.Version, spoken).Hint("use the same version of keyway at both ends")
}

// unsupported returns the error for a place that is not a Linux machine of an architecture that a
// program is for. system is what uname -s -m prints there.
func (b bootstrap) unsupported(system string) error {
	kernel, machine, _ := strings.Cut(system, " ")
	if arch, ok := machines[machine]; ok && kernel == "Linux" {
		return keyway.Errorf(keyway.VersionMismatch, "%s is a linux/%s machine and this keyway carries no program for it", b.place, arch).
			Hint("use a release of keyway, or build one with: make release")
	}
	return keyway.Errorf(keyway.EngineAbsent, "%s runs %s on %s; workspaces need Linux on x86_64 or aarch64", b.place, plainWord(kernel), plainWord(machine))
}

// closed returns the error for a place where a start file takes standard input or output away from
// the commands that a login runs. descriptors has 0, 1, or both.
func (b bootstrap) closed(descriptors string) error {
	var which []string
	for i, name := range []string{"input", "output"} {
		if strings.Contains(descriptors, strconv.Itoa(i)) {
			which = append(which, name)
		}
	}
	return keyway.Errorf(keyway.Other, "at %s, a start file of the login shell takes the standard %s away, so nothing can be run there from afar", b.place, strings.Join(which, " and ")).
		Hint("find the line in ~/.bashrc, ~/.zshenv or the like there (exec <&-, exec >/dev/null), and let it hold for terminals alone")
}

// maxPlainWord bounds the bytes of a place's word in a message.
const maxPlainWord = 200

// plainWord returns a place's word (a name, a version or a path) in a form that cannot be read as a
// sentence of keyway.
func plainWord(word string) string {
	odd := func(r rune) bool {
		return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("._-+/~@:=", r))
	}
	if word == "" || len(word) > maxPlainWord || strings.ContainsFunc(word, odd) {
		return "something else"
	}
	return word
}

// send sends the program that the place needs: need is its machine (uname -m), the kind of the
// directory that takes the program, and that directory.
func (b bootstrap) send(need string, w io.Writer) error {
	machine, where, _ := strings.Cut(need, " ")
	where, dir, _ := strings.Cut(where, " ")
	prog, ok := b.programs[machines[machine]]
	if !ok {
		return b.unsupported("Linux " + machine)
	}
	body, size, err := prog.Open()
	if err != nil {
		return err
	}
	defer body.Close()
	message := fmt.Sprintf("copying keyway to %s", b.place)
	if where != "cache" {
		message += fmt.Sprintf(" (into %s: the cache directory cannot be used)", plainWord(dir))
	}
	if _, err := fmt.Fprintf(w, "%d\n", size); err != nil {
		return err
	}
	_, err = io.Copy(w, &progressReader{r: body, report: b.report, at: keyway.Progress{Message: message, Total: size}})
	return err
}

// progressReader reports the number of bytes read.
type progressReader struct {
	r      io.Reader
	report func(keyway.Progress)
	at     keyway.Progress
}

func (p *progressReader) Read(b []byte) (int, error) {
	n, err := p.r.Read(b)
	p.at.Done += int64(n)
	p.report(p.at)
	return n, err
}

// readLine reads one line of bounded length, without its end. With an error, it returns the
// incomplete line.
func readLine(r *bufio.Reader) (string, error) {
	var line []byte
	for {
		b, err := r.ReadByte()
		if err != nil {
			return string(line), err
		}
		if b == '\n' {
			return strings.TrimSuffix(string(line), "\r"), nil
		}
		if line = append(line, b); len(line) > maxLine {
			return "", fmt.Errorf("a line of over %d bytes", maxLine)
		}
	}
}
