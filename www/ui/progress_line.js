// <progress-line>: a bar and a sentence; hidden when nothing happens.

class ProgressLine extends HTMLElement {
  // `fraction` is null while it is not known.
  show(fraction, text) {
    this.hidden = false;
    const bar = this.querySelector('progress');
    if (fraction === null) bar.removeAttribute('value');
    else bar.value = fraction;
    bar.setAttribute('aria-valuetext', text);
    this.querySelector('p').textContent = text;
  }

  hide() {
    this.hidden = true;
  }
}
customElements.define('progress-line', ProgressLine);
