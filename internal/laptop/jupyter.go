package laptop

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os/exec"
	"path"
	"strings"
	"time"

	"keyway/internal/keyway"
	"keyway/internal/lazyregexp"
	"keyway/internal/sshconfig"
)

// sendProgramTimeout bounds the time to send a program of 3 MB to a workspace: 50 kbit/s.
const sendProgramTimeout = 10 * time.Minute

// PackedProgram is a program that can be sent into a workspace.
type PackedProgram struct {
	Hash string // SHA-256 of the program, hexadecimal
	Gzip []byte
}

// Pack packs a program.
func Pack(program []byte) PackedProgram {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	_, _ = z.Write(program) // into memory
	_ = z.Close()
	sum := sha256.Sum256(program)
	return PackedProgram{hex.EncodeToString(sum[:]), b.Bytes()}
}

// findProgram prints where the program is in the workspace ("have PATH"), that it is to be sent
// ("need MACHINE"), or why it cannot be. A program there counts only if it belongs to the user
// and has the hash. The script runs on dash, bash and busybox, and contains nothing that
// another login shell interprets between single quotes. The arguments are the hashes for x86_64
// and aarch64, or "-".
const findProgram = toDirectory +
	`case $(uname -m) in x86_64|amd64) h=$1;; aarch64|arm64) h=$2;; *) h=-;; esac; case $(uname -s) in Linux) ;; *) h=-;; esac; ` +
	`if [ "$h" = - ]; then echo "no $(uname -s) $(uname -m)"; exit 0; fi; f="keyway-jupyter-$h"; ` +
	`if [ -f "$f" ] && [ -O "$f" ] && [ -x "$f" ] && has "$f" "$h"; then echo "have $PWD/$f"; else echo "need $(uname -m)"; fi`

// takeProgram reads the gzip'd program and puts it in place. The argument is its hash.
const takeProgram = toDirectory +
	`f="keyway-jupyter-$1"; t=".$f.$$"; trap "rm -f .$f.$$" EXIT; rm -rf "$t" "$f"; ` +
	`gzip -dc > "$t" && has "$t" "$1" || { echo broken; exit 0; }; ` +
	`chmod 700 "$t" && "./$t" version > /dev/null || { echo noexec; exit 0; }; ` +
	`mv "$t" "$f" && echo "have $PWD/$f"`

// toDirectory enters the user's own directory for the program, to which no other user can write. It is
// in the workspace's Home, which keyway rm removes, or else in the user's cache.
const toDirectory = `umask 077; unset CDPATH; ` +
	`if [ -w "${KEYWAY_HOME:-/nonexistent}/data" ]; then d=$KEYWAY_HOME/data/programs; else case ${XDG_CACHE_HOME:-} in /*) d=$XDG_CACHE_HOME/keyway;; *) d=${HOME:-/nonexistent}/.cache/keyway;; esac; fi; ` +
	`has() { case $(sha256sum "$1" 2> /dev/null || python3 -c "import hashlib,sys; print(hashlib.sha256(sys.stdin.buffer.read()).hexdigest())" < "$1") in "$2"*) ;; *) return 1;; esac; }; ` +
	`if [ -h "$d" ]; then echo "nowhere $d"; exit 0; fi; ` +
	`mkdir -p "$d" 2> /dev/null && cd "$d" && [ -O . ] && chmod 700 . || { echo "nowhere $d"; exit 0; }; `

// machines has the GOARCH for a word of uname -m.
var machines = map[string]string{"x86_64": "amd64", "amd64": "amd64", "aarch64": "arm64", "arm64": "arm64"}

// plainPath is a path that needs no quotes, for ssh's -L and for people.
var plainPath = lazyregexp.New(`^/[A-Za-z0-9._/+=,-]+$`)

// JupyterProgram returns the path of keyway-jupyter in a workspace. It sends the
// program there if need be; sending is called before.
func (here *Laptop) JupyterProgram(ctx context.Context, e sshconfig.Entry, programs map[string]PackedProgram, sending func()) (string, error) {
	if len(programs) == 0 {
		return "", keyway.Errorf(keyway.Other, "this keyway carries no keyway-jupyter (make build makes one that does)")
	}
	hash := func(arch string) string {
		if p, ok := programs[arch]; ok {
			return p.Hash
		}
		return "-"
	}
	out, err := here.Output(ctx, e, maxSaid, "sh", "-c", findProgram, "sh", hash("amd64"), hash("arm64"))
	if err != nil {
		return "", err
	}
	word, rest := lastWords(out)
	if word == "need" {
		p, ok := programs[machines[rest]]
		if !ok {
			return "", keyway.Errorf(keyway.Other, "there is none for %.40q", rest)
		}
		sending()
		word, rest, err = here.sendProgram(ctx, e, p)
		if err != nil {
			return "", err
		}
	}
	return programPath(word, rest)
}

func (here *Laptop) sendProgram(ctx context.Context, e sshconfig.Entry, p PackedProgram) (word, rest string, err error) {
	command := "sh -c " + shellQuote(takeProgram) + " sh " + p.Hash
	out, err := here.answerWithin(ctx, e, sendProgramTimeout, maxSaid, func(ctx context.Context) (*exec.Cmd, error) {
		cmd, err := here.SSHCommand(ctx, e.Name, outspoken, command)
		if err == nil {
			cmd.Stdin = bytes.NewReader(p.Gzip)
		}
		return cmd, err
	})
	word, rest = lastWords(out)
	return word, rest, err
}

// lastWords returns the first word and the rest of the last line: start files may
// print something before.
func lastWords(out []byte) (word, rest string) {
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	word, rest, _ = strings.Cut(lines[len(lines)-1], " ")
	return word, rest
}

// programPath judges the answer of findProgram or takeProgram.
func programPath(word, rest string) (string, error) {
	switch word {
	case "have":
		if !plainPath.MatchString(rest) || path.Clean(rest) != rest {
			return "", keyway.Errorf(keyway.Untrusted, "the workspace keeps it at a path that is not plain: %.120q", rest)
		}
		return rest, nil
	case "nowhere":
		return "", keyway.Errorf(keyway.Other, "there is no directory for it that is the user's own: %.120q", rest)
	case "broken":
		return "", keyway.Errorf(keyway.Other, "it arrived incomplete, or the disk is full")
	case "noexec":
		return "", keyway.Errorf(keyway.Other, "the home directory lets no program run")
	case "no":
		return "", keyway.Errorf(keyway.Other, "there is none for %.60q", rest)
	}
	return "", keyway.Errorf(keyway.Untrusted, "the workspace answers %.60q", word)
}

// JupyterAt is the address of keyway-jupyter in a workspace.
type JupyterAt struct {
	Socket string `json:"socket"`
	Token  string `json:"token"`
	Base   string `json:"base"`
	Page   string `json:"page"`
	Server string `json:"server"` // found, if another program has started it
}

// WhereJupyter asks keyway-jupyter in a workspace where it listens, and waits so many
// seconds for it.
func (here *Laptop) WhereJupyter(ctx context.Context, e sshconfig.Entry, program string, seconds int) (JupyterAt, error) {
	out, err := here.Output(ctx, e, 64<<10, program, "where", "--wait", fmt.Sprint(seconds))
	if err != nil {
		return JupyterAt{}, err
	}
	return readJupyterAt(out)
}

// readJupyterAt reads and checks the workspace's answer. The URL's own checks follow.
func readJupyterAt(out []byte) (at JupyterAt, err error) {
	line := out
	if i := bytes.LastIndexByte(bytes.TrimSpace(out), '\n'); i >= 0 {
		line = out[i+1:]
	}
	if err := json.Unmarshal(line, &at); err != nil {
		return at, keyway.Errorf(keyway.VersionMismatch, "the answer of keyway-jupyter cannot be read: %w", err)
	}
	if !plainPath.MatchString(at.Socket) || len(at.Socket) > 107 || at.Token == "" || !strings.HasPrefix(at.Base, "/") {
		return JupyterAt{}, keyway.Errorf(keyway.Untrusted, "the workspace names a socket that keyway-jupyter does not have: %.120q", at.Socket)
	}
	return at, nil
}
