//! Common names of five languages.
//!
//! Guarantees: each list holds widespread names in the language's own spelling and script; full names
//! arise by chance alone. `latin` is never empty and holds only the letters a to z, whatever the script.

use crate::random::Random;

/// A language of the sample company.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Language {
    English,
    French,
    Turkish,
    Hebrew,
    Italian,
}

/// A name in its own script and in plain Latin letters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Name {
    pub(crate) native: String,
    pub(crate) latin: String,
}

impl Name {
    pub(crate) fn of(entry: &str) -> Self {
        let (native, latin) = entry.split_once('|').unwrap_or((entry, entry));
        Self { native: native.to_owned(), latin: plain(latin) }
    }

    /// The name as it stands in a mail address: small letters only.
    pub(crate) fn slug(&self) -> String {
        let letters = self.latin.chars().filter(char::is_ascii_alphanumeric);
        letters.map(|letter| letter.to_ascii_lowercase()).collect()
    }
}

impl Language {
    #[cfg(test)]
    pub(crate) const ALL: [Self; 5] = [Self::English, Self::French, Self::Turkish, Self::Hebrew, Self::Italian];

    /// A language: English in two of five cases, each other in three of twenty.
    pub(crate) fn random(random: &mut Random) -> Self {
        match random.below(20) {
            0..8 => Self::English,
            8..11 => Self::French,
            11..14 => Self::Turkish,
            14..17 => Self::Hebrew,
            _ => Self::Italian,
        }
    }

    pub(crate) fn given_names(self) -> Vec<&'static str> {
        let names = match self {
            Self::English => ENGLISH_GIVEN,
            Self::French => FRENCH_GIVEN,
            Self::Turkish => TURKISH_GIVEN,
            Self::Hebrew => HEBREW_GIVEN,
            Self::Italian => ITALIAN_GIVEN,
        };
        entries(names)
    }

    pub(crate) fn family_names(self) -> Vec<&'static str> {
        let names = match self {
            Self::English => ENGLISH_FAMILY,
            Self::French => FRENCH_FAMILY,
            Self::Turkish => TURKISH_FAMILY,
            Self::Hebrew => HEBREW_FAMILY,
            Self::Italian => ITALIAN_FAMILY,
        };
        entries(names)
    }
}

/// The entries of a list written with commas.
pub(crate) fn entries(list: &'static str) -> Vec<&'static str> {
    list.split(", ").collect()
}

/// The text with accents and Turkish letters replaced by plain ones, case kept.
pub(crate) fn plain(text: &str) -> String {
    let plain_letter = |letter: char| match letter {
        'à' | 'â' | 'ä' | 'á' => 'a',
        'ç' => 'c',
        'Ç' => 'C',
        'é' | 'è' | 'ê' | 'ë' => 'e',
        'É' | 'È' | 'Ê' => 'E',
        'ğ' => 'g',
        'ı' | 'î' | 'ï' | 'ì' => 'i',
        'İ' | 'Î' => 'I',
        'ô' | 'ö' | 'ò' => 'o',
        'Ö' | 'Ô' => 'O',
        'ş' => 's',
        'Ş' => 'S',
        'ù' | 'û' | 'ü' => 'u',
        'Ü' => 'U',
        other => other,
    };
    text.chars().map(plain_letter).collect()
}

const ENGLISH_GIVEN: &str = "\
    Alice, Amelia, Arthur, Benjamin, Charlotte, Chloe, Daniel, Edward, Eleanor, Emily, Ethan, \
    Florence, Frederick, Grace, Hannah, Harry, Henry, Isabella, Jack, Jessica, Joseph, Lily, \
    Lucy, Matthew, Megan, Nathan, Oliver, Samuel, Sophie, Thomas, Victoria, William";

const ENGLISH_FAMILY: &str = "\
    Bailey, Barker, Bennett, Brown, Carter, Chapman, Clarke, Collins, Cooper, Davies, Edwards, \
    Evans, Foster, Green, Hall, Harris, Hughes, Johnson, Kelly, Marshall, Mitchell, Morgan, \
    O'Brien, Parker, Richardson, Roberts, Shaw, Smith, Taylor, Turner, Walker, Wilson";

const FRENCH_GIVEN: &str = "\
    Adèle, Agnès, Antoine, Aurélie, Bruno, Camille, Cécile, Céline, Clément, Élodie, Émile, \
    Étienne, François, Geneviève, Guillaume, Hélène, Hugo, Inès, Jérôme, Jules, Léa, Loïc, \
    Lucie, Margaux, Mathéo, Noémie, Océane, Pascal, Rémi, Sébastien, Théo, Zoé";

const FRENCH_FAMILY: &str = "\
    André, Barbier, Bernard, Blanchard, Bonnet, Boyer, Chevalier, Dubois, Dufour, Dupont, \
    Durand, Faure, Fournier, Gautier, Girard, Guérin, Lambert, Lefèvre, Lemaître, Leroy, \
    Marchand, Martin, Mercier, Moreau, Noël, Perrin, Petit, Renard, Rousseau, Roussel, \
    Thévenet, Vidal";

const TURKISH_GIVEN: &str = "\
    Ahmet, Aslı, Ayşe, Barış, Berk, Burcu, Can, Çağla, Deniz, Ebru, Elif, Emre, Esra, Fatma, \
    Gökhan, Gül, Hakan, Hatice, İbrahim, İrem, Kerem, Leyla, Mehmet, Murat, Ömer, Özge, Selin, \
    Serkan, Şule, Tuğba, Yasin, Zeynep";

const TURKISH_FAMILY: &str = "\
    Acar, Akın, Aksoy, Aydın, Bulut, Can, Çelik, Çetin, Demir, Doğan, Erdem, Güler, Güneş, \
    Işık, Karaca, Keskin, Kılıç, Koç, Korkmaz, Kurt, Öz, Özdemir, Özkan, Polat, Sarı, Şahin, \
    Taş, Tekin, Toprak, Uçar, Yıldız, Yılmaz";

const HEBREW_GIVEN: &str = "\
    אבי|Avi, אורי|Uri, אורלי|Orly, איילת|Ayelet, אלון|Alon, אסתר|Esther, גיל|Gil, גלית|Galit, \
    דוד|David, דנה|Dana, הדס|Hadas, יובל|Yuval, יוסי|Yossi, יעל|Yael, ליאור|Lior, מאיה|Maya, \
    מיכל|Michal, משה|Moshe, נועה|Noa, נועם|Noam, ענת|Anat, עומר|Omer, עידו|Ido, רון|Ron, \
    רונית|Ronit, רחל|Rachel, שירה|Shira, שלומית|Shlomit, שמעון|Shimon, תמר|Tamar, תומר|Tomer, \
    אריאל|Ariel";

const HEBREW_FAMILY: &str = "\
    כהן|Cohen, לוי|Levi, מזרחי|Mizrahi, פרץ|Peretz, ביטון|Biton, דהן|Dahan, אברהם|Avraham, \
    פרידמן|Friedman, אזולאי|Azoulay, מלכה|Malka, כץ|Katz, יוסף|Yosef, עמר|Amar, אוחיון|Ohayon, \
    חדד|Hadad, גבאי|Gabay, אדרי|Edri, שפירא|Shapira, בן דוד|Ben David, קליין|Klein, טל|Tal, \
    שרון|Sharon, רוזנברג|Rosenberg, אלמוג|Almog, ברק|Barak, גולן|Golan, הראל|Harel, ורד|Vered, \
    חן|Chen, נחום|Nahum, סלע|Sela, שגב|Segev";

const ITALIAN_GIVEN: &str = "\
    Alessia, Andrea, Anna, Beatrice, Chiara, Cosimo, Davide, Elena, Elisa, Fabio, Federica, \
    Filippo, Francesca, Gabriele, Giorgia, Giulia, Ilaria, Irene, Lorenzo, Luca, Marco, \
    Martina, Matteo, Niccolò, Paolo, Riccardo, Roberta, Sara, Silvia, Simone, Stefano, Tommaso";

const ITALIAN_FAMILY: &str = "\
    Barbieri, Bianchi, Bruno, Caruso, Colombo, Conti, Costa, D'Angelo, De Luca, Esposito, \
    Fabbri, Ferrara, Ferrari, Fontana, Galli, Gallo, Gatti, Greco, Leone, Lombardi, Mancini, \
    Marini, Martini, Moretti, Nicolò, Parisi, Ricci, Rinaldi, Romano, Rossi, Serra, Villa";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_has_a_plain_form_and_stands_once() {
        for language in Language::ALL {
            for list in [language.given_names(), language.family_names()] {
                assert!(list.len() >= 30, "{language:?} has {} names", list.len());
                let mut sorted = list.clone();
                sorted.sort_unstable();
                sorted.dedup();
                assert_eq!(sorted.len(), list.len(), "{language:?} names a name twice");
                for entry in list {
                    let name = Name::of(entry);
                    assert!(name.latin.is_ascii(), "{entry} → {}", name.latin);
                    assert!(name.slug().len() >= 2, "{entry}");
                }
            }
        }
    }

    #[test]
    fn scripts_are_right() {
        let hebrew = |letter: char| ('א'..='ת').contains(&letter) || letter == ' ';
        for entry in Language::Hebrew.given_names().into_iter().chain(Language::Hebrew.family_names()) {
            assert!(Name::of(entry).native.chars().all(hebrew), "{entry}");
        }
        let turkish: String = Language::Turkish.given_names().concat() + &Language::Turkish.family_names().concat();
        for letter in "çÇğıİöÖşŞü".chars() {
            assert!(turkish.contains(letter), "no Turkish name has {letter}");
        }
    }
}
