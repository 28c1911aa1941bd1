// Command stormcheck reads what `storm -json` wrote and holds it to its
// documented form: one object and nothing else, every figure present, null only
// where a share of the agents never came back. Under an adversity, the oracle's figures
// and each arm's t99 against the oracle's have to be there as well.
//
// Usage:
//
//	storm -arms gate,planned -json | stormcheck gate planned
//
// The arms must be those named, in this order, with every agent back.
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
)

var (
	topFigures = []string{"agents", "capacity", "outage_s", "deadline_s", "bound_s"}
	armFigures = []string{
		"back", "t50", "t99", "t100", "attempts", "attempts_up", "arrivals_up", "timeouts",
		"wasted", "peak", "db_opened", "db_refused", "goodput",
	}
	nullable = []string{"t50", "t99", "t100", "t99_over_oracle"}

	topFoul = []string{"oracle_t50", "oracle_t99", "oracle_t100"}
	armFoul = []string{"t99_over_oracle"}
)

func main() {
	if err := check(os.Stdin, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "stormcheck:", err)
		os.Exit(1)
	}
}

// check reads one object from r and returns what is wrong with it.
func check(r io.Reader, arms []string) error {
	var doc map[string]any
	dec := json.NewDecoder(r)
	if err := dec.Decode(&doc); err != nil {
		return fmt.Errorf("no JSON object: %w", err)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return errors.New("more than one object")
	}
	if err := figures(doc, topFigures); err != nil {
		return err
	}
	ofArm := armFigures
	if name, foul := doc["adversity"]; foul {
		if _, ok := name.(string); !ok {
			return fmt.Errorf("adversity is %v, want a name", name)
		}
		if err := figures(doc, topFoul); err != nil {
			return err
		}
		ofArm = slices.Concat(armFigures, armFoul)
	}
	list, ok := doc["arms"].([]any)
	if !ok || len(list) != len(arms) {
		return fmt.Errorf("arms is %v, want %d objects", doc["arms"], len(arms))
	}
	for i, name := range arms {
		if err := checkArm(list[i], name, doc["agents"], ofArm); err != nil {
			return fmt.Errorf("arm %d: %w", i, err)
		}
	}
	return nil
}

func checkArm(v any, name string, agents any, wanted []string) error {
	arm, ok := v.(map[string]any)
	if !ok || arm["arm"] != name {
		return fmt.Errorf("is %v, want %s", v, name)
	}
	if err := figures(arm, wanted); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	if arm["back"] != agents {
		return fmt.Errorf("%s: %v of %v agents are back", name, arm["back"], agents)
	}
	return nil
}

// figures: each name is there, as a number or as a null where that has a meaning.
func figures(object map[string]any, names []string) error {
	for _, name := range names {
		v, ok := object[name]
		if !ok {
			return fmt.Errorf("%s is missing", name)
		}
		if _, ok := v.(float64); !ok && (v != nil || !slices.Contains(nullable, name)) {
			return fmt.Errorf("%s is %v, want a number", name, v)
		}
	}
	return nil
}
