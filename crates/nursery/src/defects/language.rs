//! Sentences in other languages.

use crate::dice::Dice;
use crate::grammar::expand;

const FRENCH: &[&str] = &[
    "Le magasin est ouvert {tous les jours|chaque matin} de neuf heures à {midi|dix-huit heures}.",
    "Nous avons vu {une tortue|deux raies|un banc de poissons} près du récif.",
    "L'eau était {claire et chaude|un peu trouble|très froide} ce {matin|soir}.",
    "Veuillez {rapporter|rincer} le matériel avant {vendredi|la fin de la journée}.",
    "Notre moniteur vous {attend|accueille} sur le quai avec {le café|les bouteilles}.",
    "Les enfants {peuvent|ne peuvent pas} plonger sans {leurs parents|un guide}.",
    "Le bateau part {à l'heure|vers dix heures} et revient {dans l'après-midi|avant la nuit}.",
    "Cette combinaison est {trop petite|parfaite} pour {moi|mon frère}.",
    "Il faut {attendre|réserver} {une journée|deux semaines} avant de {voler|partir}.",
    "Je voudrais {échanger|acheter} {ce masque|cette lampe}, s'il vous plaît.",
    "Le prix {comprend|ne comprend pas} {le repas|la location} et {le transport|l'assurance}.",
    "La mer est {calme|agitée} aujourd'hui, mais {demain|lundi} il y aura du vent.",
];
const SPANISH: &[&str] = &[
    "La tienda abre {todos los días|cada mañana} a las {nueve|diez} y cierra {por la tarde|a las seis}.",
    "Hoy hemos visto {una tortuga|dos mantas|muchos peces} cerca del arrecife.",
    "El agua estaba {muy clara|un poco fría|tranquila} esta {mañana|tarde}.",
    "Por favor, {devuelva|limpie} el equipo antes del {viernes|domingo}.",
    "Nuestro guía le {espera|recibe} en el muelle con {las botellas|el café}.",
    "Los niños {pueden|no pueden} bucear sin {sus padres|un instructor}.",
    "El barco sale {temprano|a las ocho} y vuelve {al mediodía|antes de la noche}.",
    "Este traje me queda {pequeño|muy bien}, pero {es caro|no es negro}.",
    "Hay que {esperar|reservar} {un día|dos semanas} antes de {volar|salir}.",
    "Quisiera {cambiar|comprar} {esta máscara|esta linterna}, gracias.",
    "El precio {incluye|no incluye} {la comida|el alquiler} ni {el seguro|el viaje}.",
    "Mañana habrá {viento|lluvia} y {no saldremos|saldremos más tarde}.",
];
const GERMAN: &[&str] = &[
    "Der Laden ist {jeden Tag|jeden Morgen} von neun bis {zwölf|achtzehn} Uhr geöffnet.",
    "Wir haben {eine Schildkröte|zwei Rochen|viele Fische} am Riff gesehen.",
    "Das Wasser war heute {sehr klar|etwas trüb|ziemlich kalt}.",
    "Bitte {bringen|spülen} Sie die Ausrüstung {bis Freitag|nach dem Tauchgang} {zurück|ab}.",
    "Unser Lehrer {wartet|steht} am Steg und {hilft|erklärt} gern.",
    "Kinder dürfen {nur mit|nicht ohne} {den Eltern|einem Lehrer} tauchen.",
    "Das Boot fährt {pünktlich|um zehn Uhr} ab und kommt {am Nachmittag|vor der Nacht} zurück.",
    "Dieser Anzug ist mir {zu klein|etwas zu groß}, aber {sehr warm|die Farbe gefällt mir}.",
    "Vor dem Flug muss man {einen Tag|zwei Tage} {warten|ruhen}.",
    "Ich möchte {diese Maske|diese Lampe} {umtauschen|kaufen}, danke.",
    "Im Preis ist {das Essen|die Miete} {enthalten|nicht enthalten}.",
    "Morgen wird es {windig|regnen}, deshalb {bleiben wir hier|fahren wir später}.",
];
const DUTCH: &[&str] = &[
    "De winkel is {elke dag|iedere ochtend} open van negen tot {twaalf|zes} uur.",
    "Wij hebben {een schildpad|twee roggen|veel vissen} bij het rif gezien.",
    "Het water was vandaag {heel helder|een beetje troebel|erg koud}.",
    "Breng de spullen {voor vrijdag|na de duik} terug en {spoel|droog} ze goed af.",
    "Onze instructeur {wacht|staat} op de steiger en {helpt|vertelt} graag.",
    "Kinderen mogen {alleen met|niet zonder} {hun ouders|een gids} duiken.",
    "De boot vertrekt {op tijd|om tien uur} en komt {in de middag|voor het donker} terug.",
    "Dit pak is mij {te klein|iets te groot}, maar {wel warm|de kleur is mooi}.",
    "Voor de vlucht moet je {een dag|twee dagen} {wachten|rusten}.",
    "Ik wil {dit masker|deze lamp} graag {ruilen|kopen}, dank u.",
    "De prijs is {met|zonder} {het eten|de huur} en {de verzekering|het vervoer}.",
    "Morgen {gaat het waaien|komt er regen}, dus {blijven we hier|varen we later}.",
];

/// Three to eight sentences of one language.
pub(crate) fn foreign(d: &mut Dice) -> String {
    let mut rules = d.choose(&[FRENCH, SPANISH, GERMAN, DUTCH]).to_vec();
    d.shuffle(&mut rules);
    rules.truncate(d.between(4, 9) as usize);
    rules
        .iter()
        .map(|r| expand(r, d, &[]))
        .collect::<Vec<_>>()
        .join(" ")
}

/// Whether a text is made of the sentences above.
#[cfg(test)]
pub(crate) fn is_foreign(text: &str) -> bool {
    let starts = |rules: &[&str]| {
        rules
            .iter()
            .any(|r| text.starts_with(r.split(['{', '[']).next().expect("split yields a part")))
    };
    [FRENCH, SPANISH, GERMAN, DUTCH].iter().any(|l| starts(l))
}
