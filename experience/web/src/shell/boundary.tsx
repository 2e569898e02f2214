import { Component, type ReactNode } from "react";
import { Trouble } from "../ui/trouble";

/** Catches what a page throws while it draws, so that a fault in one never leaves a blank window. */
export class Boundary extends Component<{ children: ReactNode }, { error: unknown }> {
  override state = { error: null };

  static getDerivedStateFromError(error: unknown) {
    return { error };
  }

  override render() {
    if (this.state.error === null) return this.props.children;
    return (
      <Trouble error={this.state.error}>
        <button type="button" className="button small" onClick={() => window.location.reload()}>
          Reload
        </button>
      </Trouble>
    );
  }
}
