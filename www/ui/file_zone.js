// <file-zone>: buttons that open hidden file inputs; fires "files" with what was chosen.

class FileZone extends HTMLElement {
  connectedCallback() {
    for (const button of this.querySelectorAll('[data-opens]')) {
      const input = this.querySelector(`#${button.dataset.opens}`);
      button.addEventListener('click', () => input.click());
      input.addEventListener('change', () => {
        const files = [...input.files];
        input.value = ''; // The same file may be chosen again.
        if (files.length) this.dispatchEvent(new CustomEvent('files', { detail: { files, folder: input.webkitdirectory, input: input.id } }));
      });
    }
  }
}
customElements.define('file-zone', FileZone);
