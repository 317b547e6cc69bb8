//go:build linux

package main

import (
	"bufio"
	_ "embed"
	"errors"
	"fmt"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
)

//go:embed train_torch.py
var torchScript string

const (
	torchEpochs     = 1000
	checkpointEvery = 20
	// torchTemplate keeps checkpoints in a volume, which outlives the workspace.
	torchTemplate = "services:\n  train:\n    image: keyway-lab/torch\n    volumes: [\"runs:/mnt/runs\"]\n    shm_size: 1gb\nvolumes:\n  runs: {}\n"
)

// pytorch shows a training that is cut, found again and resumed from its checkpoint.
func (t *tour) pytorch() error {
	if t.lab.DockerError != nil {
		return t.lab.DockerError
	}
	t.engine = "docker"
	for file, text := range map[string]string{"/root/keyway.yaml": torchTemplate, "/root/train.py": torchScript} {
		if err := t.lab.Laptop.WriteFile(file, text, 0o644); err != nil {
			return err
		}
	}
	for _, argv := range [][]string{{"keyway", "init", "--yes"}, {"keyway", "unlock"}} {
		if _, err := t.run(argv...); err != nil {
			return err
		}
	}
	for _, part := range []func() error{t.startTorch, t.cutTorch, t.resumeTorch, t.leave, t.countPrompts} {
		if err := part(); err != nil {
			return err
		}
		if err := t.ctx.Err(); err != nil {
			return err
		}
	}
	return nil
}

// startTorch makes the workspace, and starts or resumes the training in it.
func (t *tour) startTorch() error {
	for _, argv := range [][]string{
		{"keyway", "up", "train", "--on", "gpu1"},
		{"scp", "-q", "train.py", "train:"},
		{"keyway", "run", "train", "-d", "--as", "torch", "--", "python3", "train.py", strconv.Itoa(torchEpochs), "/mnt/runs/checkpoint.pt"},
	} {
		if _, err := t.run(argv...); err != nil {
			return err
		}
	}
	return nil
}

// cutTorch kills the bastion while a user watches the job, then closes the terminal, and watches
// again.
func (t *tour) cutTorch() error {
	var w *watcher
	for _, s := range []struct {
		what string
		do   func() error
	}{
		{"laptop$ keyway attach train/torch      (at epoch 200 the bastion dies, and is started again)", func() (err error) {
			if w, err = t.watch(); err != nil {
				return err
			}
			return errors.Join(w.await("epoch 200/"), t.killBastion(), w.await("epoch 300/"))
		}},
		{"the terminal is closed, and the training goes on", func() error { return w.close() }},
		{"laptop$ keyway attach train/torch      (until epoch 500, then the terminal is closed again)", func() (err error) {
			if w, err = t.watch(); err != nil {
				return err
			}
			return errors.Join(w.await("epoch 500/"), w.close())
		}},
	} {
		if err := t.screen.step(s.what, s.do); err != nil {
			return err
		}
	}
	return nil
}

// watcher is a keyway attach, and its output.
type watcher struct {
	cmd     *exec.Cmd
	lines   *bufio.Scanner
	release func()
}

func (t *tour) watch() (*watcher, error) {
	cmd := t.laptop("keyway", "attach", "train/torch")
	stdout, err := cmd.StdoutPipe()
	if err == nil {
		cmd.Stderr = cmd.Stdout // what the job says of a failure
		err = cmd.Start()
	}
	if err != nil {
		return nil, err
	}
	return &watcher{cmd, bufio.NewScanner(stdout), t.killWhenDone(cmd)}, nil
}

func (w *watcher) await(want string) error {
	last := ""
	for w.lines.Scan() {
		if last = w.lines.Text(); strings.Contains(last, want) {
			return nil
		}
	}
	return fmt.Errorf("the output ended before %q, with %q", want, last)
}

func (w *watcher) close() error {
	defer w.release()
	err := w.cmd.Process.Kill()
	_ = w.cmd.Wait()
	return err
}

var epochLine = regexp.MustCompile(`(?m)^epoch (\d+)/\d+ loss ([0-9.]+)\r?$`)

// losses returns the losses in a log, by epoch. Each epoch must occur once.
func losses(log string) (map[int]float64, error) {
	all := map[int]float64{}
	for _, m := range epochLine.FindAllStringSubmatch(log, -1) {
		epoch, err1 := strconv.Atoi(m[1])
		loss, err2 := strconv.ParseFloat(m[2], 64)
		if err := errors.Join(err1, err2); err != nil {
			return nil, err
		}
		if _, twice := all[epoch]; twice {
			return nil, fmt.Errorf("epoch %d is in the log twice", epoch)
		}
		all[epoch] = loss
	}
	return all, nil
}

// resumeTorch removes the workspace with the job in it, makes it again, and resumes the training
// from its last checkpoint.
func (t *tour) resumeTorch() error {
	log, err := t.quietly("keyway", "logs", "train/torch")
	if err != nil {
		return err
	}
	before, err := losses(log)
	if err != nil {
		return err
	}
	if _, err := t.run("keyway", "rm", "--yes", "train"); err != nil {
		return err
	}
	if err := t.startTorch(); err != nil {
		return err
	}
	if _, err := t.run("keyway", "wait", "train/torch"); err != nil {
		return err
	}
	if log, err = t.quietly("keyway", "logs", "train/torch"); err != nil {
		return err
	}
	var told string
	err = t.screen.step("it resumed from its last checkpoint, and the loss is lower", func() (err error) { told, err = checkResumed(before, log); return err })
	t.screen.show(told)
	return err
}

// checkResumed compares the output of the first run with that of the second, and returns the losses
// in a line.
func checkResumed(before map[int]float64, log string) (string, error) {
	m := regexp.MustCompile(`(?m)^resumed after epoch (\d+)`).FindStringSubmatch(log)
	if m == nil {
		return "", errors.New("it began from the start")
	}
	done, err1 := strconv.Atoi(m[1])
	after, err2 := losses(log)
	if err := errors.Join(err1, err2); err != nil {
		return "", err
	}
	told := fmt.Sprintf("epoch 1: %.4f   epoch 500: %.4f   resumed, epoch %d: %.4f   epoch %d: %.4f",
		before[1], before[500], done+1, after[done+1], torchEpochs, after[torchEpochs])
	switch {
	case done < 500 || done%checkpointEvery != 0 || done >= torchEpochs:
		return told, fmt.Errorf("it resumed after epoch %d", done)
	case len(after) != torchEpochs-done || after[done+1] == 0:
		return told, fmt.Errorf("it resumed after epoch %d and tells of %d epochs", done, len(after))
	case after[done+1] > before[500] || after[torchEpochs] > before[1]/2 || after[torchEpochs] >= after[done+1]:
		return told, errors.New("the loss did not go down")
	}
	return told, nil
}
