package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/connhygiene/connhygiene/internal/storm"
)

// options are what the flags say.
type options struct {
	config         storm.Config
	arms           []string
	parallel       int
	json           bool
	svg, csv, html string
	explain        bool
	maxConnections int
}

// defaultParallel keeps two cores below a tenth of their power, so that arms do
// not disturb each other.
const defaultParallel = 4

func parse(args []string, help io.Writer) (options, error) {
	var o options
	fs := flag.NewFlagSet("storm", flag.ContinueOnError)
	fs.SetOutput(io.Discard)
	fs.IntVar(&o.config.Agents, "agents", 400, "how many agents lose their stream at once")
	fs.Float64Var(&o.config.Capacity, "capacity", 60, "lookups a second that the identity provider can do")
	fs.DurationVar(&o.config.Outage, "outage", 3*time.Second, "how long the server is dead")
	fs.DurationVar(&o.config.Deadline, "deadline", 1500*time.Millisecond, "how long the server's auth step waits for a lookup")
	fs.Float64Var(&o.config.Guess, "guess", 1, "what the server believes of its capacity, as a multiple: 2 is twice too high")
	fs.Uint64Var(&o.config.Seed, "seed", 7, "what the agents' random delays are drawn from")
	fs.StringVar(&o.config.Address, "addr", "", "public TCP address of the server (default a free port on 127.0.0.1; with a fixed port the arms run one by one)")
	adversity := fs.String("adversity", "none", "what else goes wrong, a `NAME` of the list above")
	arms := fs.String("arms", strings.Join(storm.Arms(), ","), "which arms to play, in this order")
	fs.IntVar(&o.parallel, "parallel", defaultParallel, "how many arms to play at the same time, each with a server and agents of its own")
	fs.BoolVar(&o.json, "json", false, "write one JSON object instead of the table")
	fs.StringVar(&o.svg, "svg", "", "also write a picture to this `file`")
	fs.StringVar(&o.csv, "csv", "", "also write what happened in each 100ms to this `file`")
	fs.StringVar(&o.html, "html", "", "also write a page for a browser to this `file`: curves that can be switched off, the table, the settings")
	fs.BoolVar(&o.explain, "explain", false, "print the settings for such a fleet, with the arithmetic, and play nothing")
	fs.IntVar(&o.maxConnections, "max-connections", 100, "what the database server allows, for -explain and -html")
	err := fs.Parse(args)
	if errors.Is(err, flag.ErrHelp) {
		usage(fs, help)
	}
	if err != nil {
		return o, err
	}
	o.arms = strings.Split(*arms, ",")
	if err := o.meet(*adversity, given(fs)); err != nil {
		return o, err
	}
	return o, o.resolve(fs.Args())
}

// given are the flags that were set.
func given(fs *flag.FlagSet) map[string]bool {
	set := map[string]bool{}
	fs.Visit(func(f *flag.Flag) { set[f.Name] = true })
	return set
}

// meet sets the adversity, and what it asks for of the other flags.
func (o *options) meet(name string, given map[string]bool) error {
	a, err := storm.AdversityNamed(name)
	if err != nil {
		return flagged(err)
	}
	for flag, taken := range map[string]bool{"capacity": a.Bound > 0, "deadline": a.Deadline > 0} {
		if taken && given[flag] {
			return fmt.Errorf("-adversity %s: must be without -%s, which it sets itself", name, flag)
		}
	}
	if o.config.Agents < 1 || !(o.config.Capacity > 0) {
		return nil // nothing can be worked out: resolve says so
	}
	o.config = o.config.Under(a)
	return nil
}

func usage(fs *flag.FlagSet, w io.Writer) {
	fmt.Fprintln(w, "Usage: storm [flags]\n\nPlays a reconnect storm and its cure. The arms:")
	for _, name := range storm.Arms() {
		fmt.Fprintf(w, "  %-8s %s\n", name, storm.Describe(name))
	}
	fmt.Fprintln(w, "\nThe adversities:")
	for _, a := range storm.Adversities() {
		fmt.Fprintf(w, "  %-9s %s\n", a.Name, a.Says)
	}
	fmt.Fprintln(w, "\nThe flags:")
	fs.SetOutput(w)
	fs.PrintDefaults()
}

// resolve checks what the flags say and fills in what they leave open.
func (o *options) resolve(rest []string) error {
	switch {
	case len(rest) > 0:
		return fmt.Errorf("unexpected argument %q: everything is a flag, see -h", rest[0])
	case o.parallel < 1:
		return fmt.Errorf("-parallel %d: must be at least 1", o.parallel)
	case o.config.Guess == 0:
		return errors.New("-guess 0: must be from 0.1 to 10 times the capacity")
	case o.explain && (o.json || o.svg+o.csv+o.html != ""):
		return errors.New("-explain: must be without -json, -svg, -csv and -html, since nothing is played")
	case o.svg != "" && o.svg == o.csv:
		return fmt.Errorf("-csv %s: must be another file than that of -svg", o.csv)
	case o.html != "" && (o.html == o.svg || o.html == o.csv):
		return fmt.Errorf("-html %s: must be another file than those of -svg and -csv", o.html)
	case o.maxConnections < 1:
		return fmt.Errorf("-max-connections %d: must be at least 1", o.maxConnections)
	}
	if err := o.checkArms(); err != nil {
		return err
	}
	asked := o.config
	asked.Memory = o.explain // which plays nothing, so that descriptors are no limit
	if err := asked.Validate(); err != nil {
		return flagged(err)
	}
	if fixedPort(o.config.Address) {
		o.parallel = 1
	}
	o.parallel = min(o.parallel, len(o.arms), o.config.AtOnce())
	return nil
}

func (o *options) checkArms() error {
	seen := map[string]bool{}
	for _, name := range o.arms {
		if storm.Describe(name) == "" {
			return fmt.Errorf("-arms %q: must be of %s", name, strings.Join(storm.Arms(), ","))
		}
		if seen[name] {
			return fmt.Errorf("-arms %q: must be named once", name)
		}
		seen[name] = true
	}
	return nil
}

func fixedPort(address string) bool {
	return address != "" && !strings.HasSuffix(address, ":0")
}

// flagged names the flag instead of the field.
func flagged(err error) error {
	var field *storm.FieldError
	if errors.As(err, &field) {
		return fmt.Errorf("-%w", field)
	}
	return err
}

// files are what is written at the end beside the table, each nil unless asked for.
type files struct{ svg, csv, html *os.File }

// create opens the files to write at the end, so that a path that cannot be is
// found out at the beginning.
func (o *options) create() (f files, err error) {
	for _, file := range []struct {
		flag, path string
		to         **os.File
	}{{"svg", o.svg, &f.svg}, {"csv", o.csv, &f.csv}, {"html", o.html, &f.html}} {
		if *file.to, err = createFor(file.flag, file.path); err != nil {
			return files{}, errors.Join(err, f.close())
		}
	}
	return f, nil
}

func (f files) close() error {
	return errors.Join(closeFile(f.svg), closeFile(f.csv), closeFile(f.html))
}

func createFor(name, path string) (*os.File, error) {
	if path == "" {
		return nil, nil
	}
	f, err := os.Create(path)
	if err != nil {
		return nil, &storm.FieldError{Field: name, Value: path, Limit: "must be a file that can be written: " + err.Error()}
	}
	return f, nil
}

func closeFile(f *os.File) error {
	if f == nil {
		return nil
	}
	return f.Close()
}
