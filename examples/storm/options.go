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
	svg, csv       string
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
	arms := fs.String("arms", strings.Join(storm.Arms(), ","), "which arms to play, in this order")
	fs.IntVar(&o.parallel, "parallel", defaultParallel, "how many arms to play at the same time, each with a server and agents of its own")
	fs.BoolVar(&o.json, "json", false, "write one JSON object instead of the table")
	fs.StringVar(&o.svg, "svg", "", "also write a picture to this `file`")
	fs.StringVar(&o.csv, "csv", "", "also write what happened in each 100ms to this `file`")
	fs.BoolVar(&o.explain, "explain", false, "print the settings for such a fleet, with the arithmetic, and play nothing")
	fs.IntVar(&o.maxConnections, "max-connections", 100, "what the database server allows, for -explain")
	err := fs.Parse(args)
	if errors.Is(err, flag.ErrHelp) {
		usage(fs, help)
	}
	if err != nil {
		return o, err
	}
	o.arms = strings.Split(*arms, ",")
	return o, o.resolve(fs.Args())
}

func usage(fs *flag.FlagSet, w io.Writer) {
	fmt.Fprintln(w, "Usage: storm [flags]\n\nPlays a reconnect storm and its cure. The arms:")
	for _, name := range storm.Arms() {
		fmt.Fprintf(w, "  %-8s %s\n", name, storm.Describe(name))
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
	case o.explain && (o.json || o.svg != "" || o.csv != ""):
		return errors.New("-explain: must be without -json, -svg and -csv, since nothing is played")
	case o.svg != "" && o.svg == o.csv:
		return fmt.Errorf("-csv %s: must be another file than that of -svg", o.csv)
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

// create opens the files to write at the end, so that a path that cannot be is
// found out at the beginning.
func (o *options) create() (svg, csv *os.File, err error) {
	if svg, err = createFor("svg", o.svg); err != nil {
		return nil, nil, err
	}
	if csv, err = createFor("csv", o.csv); err != nil {
		return nil, nil, errors.Join(err, closeFile(svg))
	}
	return svg, csv, nil
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
