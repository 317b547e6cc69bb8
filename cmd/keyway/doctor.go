package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"keyway/internal/api"
	"keyway/internal/keyway"
	"keyway/internal/link"
	"keyway/internal/plain"
	"keyway/internal/policy"
	"keyway/internal/sshconfig"
	"keyway/internal/unixsock"
)

func newDoctorCommand() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "doctor",
		Short: "Check this laptop: ssh, the agent, your key, ~/.ssh/config, Docker",
		Long: `Check what keyway needs on this laptop and say what to do about what is missing. It
changes nothing and contacts no other machine; keyway status checks the way to a
place. It fails if something must be mended, and warns of what could be better.` + exitCodes(),
		Example: "  keyway doctor\n  keyway doctor --json",
		Args:    takes(0, 0, ""),
		RunE: func(cmd *cobra.Command, args []string) error {
			return runDoctor(cmd.Context(), asJSON, cmd.OutOrStdout())
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

// health is what a check found.
type health string

const (
	healthy health = "ok"
	warning health = "warn"
	failing health = "fail"
)

// finding is one line of the doctor's report.
type finding struct {
	Check   string `json:"check"`
	Health  health `json:"health"`
	Message string `json:"message"`
	Next    string `json:"next,omitempty"`
}

func found(check string, h health, format string, args ...any) finding {
	return finding{Check: check, Health: h, Message: fmt.Sprintf(format, args...)}
}

// then is f with what to do about it.
func (f finding) then(format string, args ...any) finding {
	f.Next = fmt.Sprintf(format, args...)
	return f
}

// fault is what a failed call says.
func fault(check string, h health, err error) finding {
	e := keyway.AsError(err)
	return finding{Check: check, Health: h, Message: e.Message, Next: e.Next}
}

// checkTimeout is how long one program may take that a check runs: a hanging
// agent or daemon is a finding, not a reason to wait.
const checkTimeout = 5 * time.Second

func runDoctor(ctx context.Context, asJSON bool, stdout io.Writer) error {
	findings := examineLaptop(ctx)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	failed := 0
	for _, f := range findings {
		if f.Health == failing {
			failed++
		}
	}
	if asJSON {
		if err := plain.JSON(stdout, map[string]any{"version": keyway.Version, "ok": failed == 0, "checks": findings}); err != nil {
			return err
		}
	} else {
		printFindings(stdout, findings)
	}
	if failed > 0 {
		return keyway.Errorf(keyway.Other, "%d of %d checks failed", failed, len(findings)).Hint("mend them from the top; the first may be the cause of others")
	}
	return nil
}

func printFindings(w io.Writer, findings []finding) {
	for _, f := range findings {
		plain.Fprintf(w, "%-5s %-12s %s\n", f.Health, f.Check, f.Message)
		for line := range strings.Lines(plain.Text(f.Next)) {
			fmt.Fprintf(w, "                   → %s\n", strings.TrimRight(line, "\n"))
		}
	}
}

// examineLaptop makes every check that can be made: without the directories
// there is nothing to be said of what is in them.
func examineLaptop(ctx context.Context) []finding {
	findings := []finding{checkClient(ctx)}
	home, err := os.UserHomeDir()
	if err != nil {
		return append(findings, fault("home", failing, keyway.Errorf(keyway.BadConfig, "there is no home directory: %w", err).Hint("set HOME")))
	}
	findings = append(findings, checkHome(home)...)
	findings = append(findings, checkKeys(home)...)
	a, err := newApp()
	if err != nil {
		return append(findings, fault("directories", failing, err))
	}
	findings = append(findings, checkSockets(a.runtime), a.checkAgent(ctx), checkPolicy(), a.checkInclude(home))
	findings = append(findings, a.checkHosts(ctx)...)
	findings = append(findings, a.checkLink(ctx))
	return append(findings, a.checkEngines(ctx)...)
}

// oldestClient is the first OpenSSH that has all we use: SSH_ASKPASS_REQUIRE,
// by which the link's ssh brings its questions back, is of 8.4.
var oldestClient = [2]int{8, 4}

func checkClient(ctx context.Context) finding {
	ctx, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	out, err := exec.CommandContext(ctx, "ssh", "-V").CombinedOutput()
	if err != nil {
		return found("ssh", failing, "the OpenSSH client cannot be run: %v", err).then("install it (Debian: apt-get install openssh-client)")
	}
	said := strings.TrimSpace(string(out))
	version, ok := clientVersion(said)
	switch {
	case !ok:
		return found("ssh", warning, "this ssh is not OpenSSH: %q", said).then("put OpenSSH's first on the PATH")
	case version[0] < oldestClient[0] || version[0] == oldestClient[0] && version[1] < oldestClient[1]:
		return found("ssh", failing, "OpenSSH %d.%d is too old: %d.%d is the first that can be used", version[0], version[1], oldestClient[0], oldestClient[1]).
			then("install a newer OpenSSH client")
	}
	if version[0] == 9 && version[1] < 9 || version[0] < 9 {
		return found("ssh", healthy, "OpenSSH %d.%d; from 9.9 on its key exchange with a workspace is post-quantum, too", version[0], version[1])
	}
	return found("ssh", healthy, "OpenSSH %d.%d", version[0], version[1])
}

// clientVersion reads what ssh -V says: OpenSSH_9.2p1 Debian-2, or
// OpenSSH_for_Windows_9.5p1.
func clientVersion(said string) (version [2]int, ok bool) {
	rest, ok := strings.CutPrefix(said, "OpenSSH_")
	if !ok {
		return version, false
	}
	rest = strings.TrimPrefix(rest, "for_Windows_")
	n, err := fmt.Sscanf(rest, "%3d.%3d", &version[0], &version[1])
	return version, err == nil && n == 2 && version[0] >= 0 && version[1] >= 0
}

// checkHome looks at ~/.ssh: ssh refuses a configuration that others may write,
// and reads it from the home directory that the system has for the user.
func checkHome(home string) []finding {
	var findings []finding
	if me, err := user.Current(); err == nil && me.HomeDir != "" && filepath.Clean(me.HomeDir) != filepath.Clean(home) {
		findings = append(findings, found("home", warning, "HOME is %s, but ssh reads %s", home, filepath.Join(me.HomeDir, ".ssh")).
			then("run keyway init with HOME=%s", me.HomeDir))
	}
	for _, path := range []string{filepath.Join(home, ".ssh"), filepath.Join(home, ".ssh", "config")} {
		info, err := os.Stat(path)
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			findings = append(findings, found("~/.ssh", failing, "%s cannot be looked at: %v", path, err).then("see who owns it: ls -ld %s", path))
		} else if runtime.GOOS != "windows" && info.Mode().Perm()&0o022 != 0 {
			findings = append(findings, found("~/.ssh", failing, "others may write to %s, so ssh does not trust it", path).then("chmod go-w %s", path))
		}
	}
	if len(findings) == 0 {
		findings = append(findings, found("~/.ssh", healthy, "nobody else may write to it"))
	}
	return findings
}

// checkKeys looks at the usual key files. One that others may read is refused
// by ssh and ssh-add.
func checkKeys(home string) []finding {
	files := keyFiles(home)
	if len(files) == 0 {
		return []finding{found("key", warning, "there is no key in %s", filepath.Join(home, ".ssh")).
			then("make one: keyway init\nor, if your key is elsewhere: keyway unlock KEYFILE")}
	}
	var findings []finding
	for _, f := range files {
		info, err := os.Stat(f)
		switch {
		case err != nil:
			findings = append(findings, found("key", failing, "%s cannot be looked at: %v", f, err).then("see who owns it: ls -l %s", f))
		case runtime.GOOS != "windows" && info.Mode().Perm()&0o077 != 0:
			findings = append(findings, found("key", failing, "others may read %s, so ssh does not use it", f).then("chmod 600 %s", f))
		default:
			findings = append(findings, found("key", healthy, "%s", f))
		}
	}
	return findings
}

// checkSockets binds a socket where the link and the agent have theirs.
func checkSockets(dir string) finding {
	path := filepath.Join(dir, fmt.Sprintf(".doctor-%d", os.Getpid()))
	l, err := unixsock.Listen(path, 0o600)
	if err != nil {
		return found("sockets", failing, "no socket can be made in %s: %v", dir, err).then("name a private directory with a short path: export XDG_RUNTIME_DIR=/path/of/yours")
	}
	l.Close()
	os.Remove(path)
	return found("sockets", healthy, "%s", dir)
}

// checkAgent asks the agent that ssh will ask. ssh-add exits with 1 if it holds
// no key, and with 2 if there is none.
func (a *app) checkAgent(ctx context.Context) finding {
	ctx, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, "ssh-add", "-l")
	cmd.Env = a.environ()
	out, err := cmd.Output()
	var exit *exec.ExitError
	switch {
	case err == nil:
		return found("agent", healthy, "it holds %s", count(bytes.Count(out, []byte("\n")), "key"))
	case ctx.Err() != nil:
		return found("agent", failing, "the agent does not answer within %v", checkTimeout).then("end it, and start another: keyway unlock")
	case errors.As(err, &exit) && exit.ExitCode() == 1:
		return found("agent", warning, "it holds no key").then("keyway unlock")
	case errors.As(err, &exit):
		return found("agent", warning, "there is none").then("keyway unlock starts one")
	}
	return found("agent", failing, "ssh-add cannot be run: %v", err).then("install the OpenSSH client (Debian: apt-get install openssh-client)")
}

// checkPolicy reads the policy as the agent does, and looks for hosts that its rules
// cannot tell by name.
func checkPolicy() finding {
	path, err := policyPath(nil)
	if err != nil {
		return fault("policy", failing, err)
	}
	rules, err := policy.Read(path)
	if err != nil {
		return fault("policy", failing, badPolicy(err))
	}
	names := knownHostNames(func() *policy.Policy { return rules })
	text := hashedText(rules, names)
	if text == "" {
		return found("policy", healthy, "%s", path)
	}
	if _, unknown := names.countHashed(); unknown > 0 && rules.GoesByName() {
		return found("policy", warning, "%s", text).then("name them in ~/.ssh/config (Host and HostName), or write the rules with fingerprints: ssh-keygen -l -f ~/.ssh/known_hosts")
	}
	return found("policy", healthy, "%s", text)
}

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// checkInclude looks for the one line in the user's ssh_config.
func (a *app) checkInclude(home string) finding {
	change, err := sshconfig.PlanInclude(home, a.hosts.ConfigPath())
	switch {
	case err != nil:
		return fault("ssh_config", failing, err)
	case change.Needed():
		return found("ssh_config", failing, "%s", change.Why).then("keyway init")
	}
	return found("ssh_config", healthy, "%s includes keyway's hosts", change.Path)
}

// checkHosts asks ssh itself what it makes of a workspace: an Include that is
// there may still not be read, in another HOME or a file named by -F.
func (a *app) checkHosts(ctx context.Context) []finding {
	known, err := a.hosts.List()
	if err != nil {
		return []finding{fault("workspaces", failing, err)}
	}
	if len(known) == 0 {
		return []finding{found("workspaces", healthy, "none yet: keyway up")}
	}
	sample := known[0].Name
	host, err := sshconfig.Resolve(ctx, keyway.Place(sample))
	if err != nil {
		return []finding{fault("workspaces", failing, err)}
	}
	return []finding{judgeHost(string(sample), host, len(known))}
}

func judgeHost(name string, host sshconfig.Host, known int) finding {
	program, _, ours := strings.Cut(host.ProxyCommand, " proxy ")
	if !ours {
		return found("workspaces", failing, "ssh %s would not come by keyway but go to %s", name, host.HostName).then("keyway init")
	}
	path := unescape(program)
	if _, err := os.Stat(path); err != nil {
		return found("workspaces", failing, "ssh %s would run a keyway that is not there: %s", name, path).then("write the entries anew: keyway unlock")
	}
	return found("workspaces", healthy, "ssh knows %s by name", count(known, "workspace"))
}

// unescape is the path in a generated ProxyCommand, as ssh -G prints it.
func unescape(word string) string {
	if runtime.GOOS == "windows" {
		return strings.Trim(word, `"`)
	}
	var b strings.Builder
	for i := 0; i < len(word); i++ {
		if word[i] == '\\' && i+1 < len(word) {
			i++
		}
		b.WriteByte(word[i])
	}
	return strings.ReplaceAll(b.String(), "%%", "%")
}

// checkLink asks the link, if there is one: it is started when it is needed.
func (a *app) checkLink(ctx context.Context) finding {
	ctx, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	l, err := link.Running(ctx, a.runtime)
	if ctx.Err() != nil {
		return found("link", failing, "the link does not answer within %v", checkTimeout).then("keyway link stop\nif that hangs too, see its log: %s", logPath())
	}
	if err != nil {
		return found("link", healthy, "not running; it is started when it is needed")
	}
	s, err := l.Status(ctx)
	if err != nil {
		return fault("link", failing, err).then("keyway link stop")
	}
	return found("link", healthy, "process %d, version %s, %s", s.PID, s.Version, count(len(s.Places), "place"))
}

func logPath() string {
	path, err := linkLog()
	if err != nil {
		return "link.log in keyway's state directory"
	}
	return path
}

// checkEngines reports what workspaces on this machine can be, as the local node
// sees it. That there is no Docker here is no fault: most people's workspaces are
// elsewhere.
func (a *app) checkEngines(ctx context.Context) []finding {
	if runtime.GOOS != "linux" {
		return []finding{found("local", healthy, "workspaces on this machine need Linux; those at other places do not")}
	}
	ctx, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	programs, err := programs(a.program)
	var info api.Info
	if err == nil {
		info, err = link.LocalInfo(ctx, plainNode(a.program), programs)
	}
	if err != nil {
		return []finding{fault("local", warning, err)}
	}
	var findings []finding
	usable := false
	for _, e := range info.Engines {
		switch {
		case e.Usable:
			usable = true
			findings = append(findings, found(e.Name, healthy, "can be used for workspaces on this machine"))
		case e.Why == nil:
			findings = append(findings, found(e.Name, warning, "cannot be used, and does not tell why"))
		case usable:
			findings = append(findings, found(e.Name, healthy, "not needed, and not usable: %s", e.Why.Message))
		case e.Why.Kind == keyway.EngineAbsent:
			findings = append(findings, found(e.Name, healthy, "not on this machine; workspaces here can be plain processes (--engine %s)", keyway.EngineWith(false)))
		default:
			findings = append(findings, fault(e.Name, warning, e.Why))
		}
	}
	return findings
}
