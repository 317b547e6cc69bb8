//go:build linux

package main

import (
	"bufio"
	"bytes"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strings"
	"time"

	"keyway/test/lab"
)

//go:embed train.py
var trainingScript string

const (
	epochs   = 2000 // some seconds of training
	halfway  = epochs / 2
	fileSize = 128 << 20
	kills    = 3 // of the bastion, during one copy
)

// tour is the run of the demo, on the laptop.
type tour struct {
	ctx    context.Context
	lab    *lab.Lab
	screen *screen
	engine string
}

// chooseEngine chooses containers where Docker runs, and plain processes otherwise.
func (t *tour) chooseEngine() {
	t.engine = "docker"
	if t.lab.DockerError != nil {
		t.engine = "host"
		t.screen.note("there is no Docker (%v): the workspace is plain processes on the GPU machine, engine host", t.lab.DockerError)
	}
}

func (t *tour) walk() error {
	t.chooseEngine()
	for _, part := range []func() error{t.prepare, t.enter, t.copy, t.train, t.reattach, t.leave, t.countPrompts, t.signatures} {
		if err := part(); err != nil {
			return err
		}
		if err := t.ctx.Err(); err != nil {
			return err
		}
	}
	return nil
}

// laptop prepares a command on the laptop, with a person who knows the
// passphrase at hand.
func (t *tour) laptop(argv ...string) *exec.Cmd {
	cmd := t.lab.Laptop.Command(argv[0], argv[1:]...)
	cmd.Env = append(cmd.Env, t.lab.AskpassEnv()...)
	return cmd
}

// run runs one step: a command as a user would type it.
func (t *tour) run(argv ...string) (out string, err error) {
	err = t.screen.step("laptop$ "+typed(argv), func() error {
		out, err = t.quietly(argv...)
		return err
	})
	t.screen.show(out)
	return out, err
}

// quietly runs a command on the laptop until it ends or the demo does.
func (t *tour) quietly(argv ...string) (string, error) {
	cmd := t.laptop(argv...)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		return "", err
	}
	defer t.killWhenDone(cmd)()
	if err := cmd.Wait(); err != nil {
		return out.String(), fmt.Errorf("%s: %w", typed(argv), err)
	}
	return out.String(), nil
}

// killWhenDone kills cmd if the demo is interrupted, until the function it
// returns is called.
func (t *tour) killWhenDone(cmd *exec.Cmd) (stop func()) {
	release := context.AfterFunc(t.ctx, func() { _ = cmd.Process.Kill() })
	return func() { release() }
}

func typed(argv []string) string {
	words := make([]string, len(argv))
	for i, a := range argv {
		words[i] = a
		if a == "" || strings.ContainsAny(a, " ;&|<>$'\"*()") {
			words[i] = "'" + a + "'"
		}
	}
	return strings.Join(words, " ")
}

func (t *tour) prepare() error {
	if err := t.lab.GPU.WriteFile("/srv/data/set.txt", "training data\n", 0o644); err != nil {
		return err
	}
	up := []string{"keyway", "up", "--on", "gpu1", "--name", "train"}
	if t.engine == "docker" {
		up = append(up, "--image", string(lab.Base), "--shm-size", "2gb", "-v", t.lab.GPU.Inside("/srv/data")+":/mnt/data:ro")
	} else {
		up = append(up, "--engine", "host")
	}
	for _, argv := range [][]string{{"keyway", "init", "--yes"}, {"keyway", "unlock"}, up} {
		if _, err := t.run(argv...); err != nil {
			return err
		}
	}
	return nil
}

func (t *tour) enter() error {
	command := "echo I am $(id -un) on $(hostname)"
	want := "I am "
	if t.engine == "docker" {
		command += "; cat /mnt/data/set.txt; df -h /dev/shm | tail -n 1"
		want = "training data"
	}
	out, err := t.run("ssh", "train", command)
	return errors.Join(err, contains(out, want))
}

func contains(out, want string) error {
	if !strings.Contains(out, want) {
		return fmt.Errorf("%q is missing in %q", want, out)
	}
	return nil
}

// copy copies a file to the workspace, over a bastion that dies in the meantime, and back, and
// compares.
func (t *tour) copy() error {
	if _, err := t.quietly("sh", "-c", fmt.Sprintf("head -c %d /dev/urandom >model.bin", fileSize)); err != nil {
		return err
	}
	if err := t.screen.step("laptop$ scp -q model.bin train:model.bin      (meanwhile every sshd of the bastion is killed, again and again)", t.copyWhileKilling); err != nil {
		return err
	}
	if _, err := t.run("scp", "-q", "train:model.bin", "back.bin"); err != nil {
		return err
	}
	return t.screen.step("the checksums here, there and of what came back are equal", func() error {
		here, err1 := t.quietly("sha256sum", "model.bin", "back.bin")
		there, err2 := t.quietly("ssh", "train", "sha256sum model.bin")
		sums := map[string]bool{}
		for _, line := range strings.Split(strings.TrimSpace(here+there), "\n") {
			sums[strings.Fields(line + " -")[0]] = true
		}
		if err := errors.Join(err1, err2); err != nil || len(sums) != 1 {
			return fmt.Errorf("%s%s: %w", here, there, errors.Join(err, errors.New("different")))
		}
		return nil
	})
}

// copyWhileKilling kills the bastion during an scp, which must not notice.
func (t *tour) copyWhileKilling() error {
	copied := make(chan error, 1)
	go func() {
		out, err := t.quietly("scp", "-q", "model.bin", "train:model.bin")
		if err == nil && out != "" {
			err = fmt.Errorf("it noticed: %s", out)
		}
		copied <- err
	}()
	for n := range kills {
		select {
		case err := <-copied:
			if n == 0 {
				return errors.Join(err, errors.New("it was too quick for the bastion to die meanwhile"))
			}
			return err
		case <-time.After(200 * time.Millisecond):
		}
		if err := t.killBastion(); err != nil {
			return errors.Join(err, <-copied)
		}
		if _, err := t.quietly("keyway", "status", "gpu1"); err != nil { // waits until the uplink is up again
			return errors.Join(err, <-copied)
		}
	}
	return <-copied
}

// killBastion kills every sshd process of the bastion, those that relay and the
// one that listens, and starts that one again.
func (t *tour) killBastion() error {
	t.lab.Bastion.KillSSHD()
	return t.lab.Bastion.StartSSHD()
}

// train starts a job and kills the bastion while a viewer watches, which must not notice.
func (t *tour) train() error {
	if err := t.lab.Laptop.WriteFile("/root/train.py", trainingScript, 0o644); err != nil {
		return err
	}
	if _, err := t.quietly("scp", "-q", "train.py", "train:"); err != nil {
		return err
	}
	if _, err := t.run("keyway", "run", "train", "-d", "--as", "sgd", "--", "python3", "train.py", fmt.Sprint(epochs), "checkpoint.json"); err != nil {
		return err
	}
	var out string
	err := t.screen.step(fmt.Sprintf("laptop$ keyway attach train/sgd      (at epoch %d the bastion dies, and is started again)", halfway), func() (err error) {
		out, err = t.killWhileAttached()
		return err
	})
	t.screen.show(lastLines(out, 2))
	return errors.Join(err, t.checkTraining())
}

// killWhileAttached watches a job to its end, and kills the bastion in the middle. It returns the
// output that was shown.
func (t *tour) killWhileAttached() (string, error) {
	cmd := t.laptop("keyway", "attach", "train/sgd")
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return "", err
	}
	if err := cmd.Start(); err != nil {
		return "", err
	}
	defer t.killWhenDone(cmd)()
	err = awaitLine(stdout, fmt.Sprintf("epoch %d/", halfway))
	if err == nil {
		err = t.killBastion()
	}
	rest, readErr := io.ReadAll(stdout)
	return string(rest), errors.Join(err, readErr, cmd.Wait(), contains(string(rest), fmt.Sprintf("epoch %d/", epochs)))
}

func awaitLine(r io.Reader, want string) error {
	for s := bufio.NewScanner(r); s.Scan(); {
		if strings.Contains(s.Text(), want) {
			return nil
		}
	}
	return fmt.Errorf("the output ended before %q", want)
}

// checkTraining checks the files that the job has left.
func (t *tour) checkTraining() error {
	if err := t.screen.step("every epoch is in the log once; the job exited with 0; the checkpoint is complete", t.checkJob); err != nil {
		return err
	}
	return t.screen.step("laptop$ keyway run train -- sh -c 'exit 7'      (exits with 7)", func() error {
		_, err := t.quietly("keyway", "run", "train", "--", "sh", "-c", "exit 7")
		var exit *exec.ExitError
		if !errors.As(err, &exit) || exit.ExitCode() != 7 {
			return errors.Join(errors.New("it did not exit with 7"), err)
		}
		return nil
	})
}

func lastLines(s string, n int) string {
	lines := strings.Split(strings.TrimRight(s, "\r\n"), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}

func (t *tour) checkJob() error {
	log, err := t.quietly("keyway", "logs", "train/sgd")
	if err != nil {
		return err
	}
	for _, epoch := range []int{1, halfway, halfway + 1, epochs} {
		if n := strings.Count(log, fmt.Sprintf("epoch %d/", epoch)); n != 1 {
			return fmt.Errorf("epoch %d is %d times in the log", epoch, n)
		}
	}
	if n := strings.Count(log, "epoch "); n != epochs {
		return fmt.Errorf("%d epochs in the log, want %d", n, epochs)
	}
	if _, err := t.quietly("keyway", "wait", "train/sgd"); err != nil {
		return err
	}
	checkpoint, err := t.quietly("ssh", "train", "cat checkpoint.json")
	return errors.Join(err, contains(checkpoint, fmt.Sprintf(`"epoch": %d`, epochs)))
}

// leave removes the workspace and checks that nothing is left of it.
func (t *tour) leave() error {
	out, err := t.run("keyway", "ls")
	if err := errors.Join(err, contains(out, "train")); err != nil {
		return err
	}
	if _, err := t.run("keyway", "rm", "train"); err != nil {
		return err
	}
	return t.screen.step("nothing is left of it on the GPU machine or in ssh's configuration", func() error {
		if t.engine == "docker" && t.lab.Mode == lab.Namespaces {
			if ids, err := t.lab.Docker("ps", "-aq"); err != nil || ids != "" {
				return errors.Join(fmt.Errorf("containers %q", ids), err)
			}
		}
		if pids := t.lab.GPU.ProcessesInside("keyway-guest"); len(pids) != 0 {
			return fmt.Errorf("guest processes %v", pids)
		}
		config, err := t.quietly("ssh", "-G", "train")
		if strings.Contains(config, "proxycommand") {
			return errors.New("ssh still knows it")
		}
		return err
	})
}

// countPrompts fails unless the passphrase was asked for exactly once.
func (t *tour) countPrompts() error {
	return t.screen.step("the passphrase was asked for exactly once", func() error {
		if p := t.lab.Prompts(); len(p) != 1 {
			return fmt.Errorf("%d prompts: %q", len(p), p)
		}
		return nil
	})
}

// signatures prints the last uses of the key, and checks that their log is complete.
func (t *tour) signatures() error {
	out, err := t.run("keyway", "log", "-n", "3")
	if err := errors.Join(err, contains(out, "to log in to")); err != nil {
		return err
	}
	out, err = t.run("keyway", "log", "--verify")
	return errors.Join(err, contains(out, "sound"))
}
