(function () {
  var made = document.getElementById("made");
  var old = document.getElementById("old");
  var hours = (Date.now() - Date.parse(made.dateTime)) / 36e5;
  if (hours > Number(old.dataset.hours)) {
    old.querySelector("span").textContent = hours < 48 ? Math.floor(hours) + " hours" : Math.floor(hours / 24) + " days";
    old.hidden = false;
  }
})();
